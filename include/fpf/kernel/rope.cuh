// RMSNorm per head, rotary embedding by halves (RoFormer, arXiv:2104.09864, in Hugging Face's half-rotation
// form), and the new keys' and values' way into the cache.
#pragma once

#include "common.cuh"
#include "params.hpp"

namespace fpf::kernel {

/// One warp turns one head: in[0..HeadDim) -> out, which may be shared or global memory. `norm` is null where
/// heads are not normalised. Round: every operation's result is rounded to T, as separate operations are.
/// Lane l holds the dimensions l + 32 i and their partners half a head away.
template <class T, int HeadDim, bool Round>
__device__ __forceinline__ void turn_head(T* out, const T* in, const T* norm, const float* cos,
                                          const float* sin, float eps) {
  static_assert(HeadDim % 64 == 0, "heads must have a multiple of 64 dimensions");
  constexpr int half = HeadDim / 2, each = half / 32;
  const int lane = int(threadIdx.x % 32);
  const auto op = [](float value) { return Round ? rounded<T>(value) : value; };
  float low[each], high[each], squares = 0;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    low[i] = to_float(in[i * 32 + lane]);
    high[i] = to_float(in[half + i * 32 + lane]);
    squares = fmaf(low[i], low[i], squares);
    squares = fmaf(high[i], high[i], squares);
  }
  if (norm != nullptr) {
    const float inverse = rsqrtf(warp_sum(squares) * (1.0f / float(HeadDim)) + eps);
#pragma unroll
    for (int i = 0; i < each; ++i) {
      low[i] = op(op(low[i] * inverse) * to_float(norm[i * 32 + lane]));
      high[i] = op(op(high[i] * inverse) * to_float(norm[half + i * 32 + lane]));
    }
  }
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const float c = cos[i * 32 + lane], s = sin[i * 32 + lane];
    out[i * 32 + lane] = from_float<T>(op(low[i] * c) + op(-high[i] * s));
    out[half + i * 32 + lane] = from_float<T>(op(high[i] * c) + op(low[i] * s));
  }
}

/// Copies one head with a warp.
template <class T, int HeadDim>
__device__ __forceinline__ void copy_head(T* out, const T* in) {
  for (int i = int(threadIdx.x % 32); i < HeadDim / per_vector<T>; i += 32)
    reinterpret_cast<uint4*>(out)[i] = reinterpret_cast<const uint4*>(in)[i];
}

/// q -> p.q, k and v -> the cache, at each row's position. Grid: (Heads + 2 KvHeads, rows) blocks of 32.
template <class T, int Heads, int KvHeads, int HeadDim, bool HeadNorm, bool Round>
__global__ void __launch_bounds__(32) rope_append(const AttentionParams p) {
  const int head = int(blockIdx.x), row = int(blockIdx.y);
  wait_for_previous();
  allow_next();
  const int position = p.position[row];
  const T* in = static_cast<const T*>(p.qkv) + (i64(row) * (Heads + 2 * KvHeads) + head) * HeadDim;
  const float* cos = p.cos + i64(position) * (HeadDim / 2);
  const float* sin = p.sin + i64(position) * (HeadDim / 2);
  const i64 slot = row * p.cache.batch_stride + position * p.cache.position_stride;
  if (head < Heads) {
    turn_head<T, HeadDim, Round>(static_cast<T*>(p.q) + (i64(row) * Heads + head) * HeadDim, in,
                                 HeadNorm ? static_cast<const T*>(p.q_norm) : nullptr, cos, sin, p.eps);
  } else if (head < Heads + KvHeads) {
    turn_head<T, HeadDim, Round>(static_cast<T*>(p.cache.keys) + slot + (head - Heads) * p.cache.head_stride,
                                 in, HeadNorm ? static_cast<const T*>(p.k_norm) : nullptr, cos, sin, p.eps);
  } else {
    copy_head<T, HeadDim>(
        static_cast<T*>(p.cache.values) + slot + (head - Heads - KvHeads) * p.cache.head_stride, in);
  }
}

}  // namespace fpf::kernel
