// RMSNorm per head, rotary embedding by halves (RoFormer, arXiv:2104.09864, in Hugging Face's half-rotation
// form), and the new keys' and values' way into the cache.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// What turning a head needs besides the head: a lane's weights of the norm, cosines and sines. All older
/// than the predecessor, so they are fetched while it runs. Lane l has the dimensions l + 32 i and their
/// partners half a head away.
template <class T, int HeadDim>
struct TurnTables {
  static_assert(HeadDim % 64 == 0, "heads must have a multiple of 64 dimensions");
  static constexpr int half = HeadDim / 2, each = half / 32;
  float low[each], high[each], cos[each], sin[each];

  /// norm: null where heads are not normalised.
  __device__ __forceinline__ void load(const T* norm, const float* all_cos, const float* all_sin, int position) {
    const int lane = int(threadIdx.x % 32);
#pragma unroll
    for (int i = 0; i < each; ++i) {
      low[i] = norm != nullptr ? to_float(norm[i * 32 + lane]) : 1.0f;
      high[i] = norm != nullptr ? to_float(norm[half + i * 32 + lane]) : 1.0f;
      cos[i] = all_cos[i64(position) * half + i * 32 + lane];
      sin[i] = all_sin[i64(position) * half + i * 32 + lane];
    }
  }
};

/// One warp turns one head: in[0..HeadDim) -> out, which may be shared or global memory. Round: every
/// operation's result is rounded to T, as separate operations are.
template <class T, int HeadDim, bool HeadNorm, bool Round>
__device__ __forceinline__ void turn_head(T* out, const T* in, const TurnTables<T, HeadDim>& tables, float eps) {
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
  if constexpr (HeadNorm) {
    const float inverse = rsqrtf(warp_sum(squares) * (1.0f / float(HeadDim)) + eps);
#pragma unroll
    for (int i = 0; i < each; ++i) {
      low[i] = op(op(low[i] * inverse) * tables.low[i]);
      high[i] = op(op(high[i] * inverse) * tables.high[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const float c = tables.cos[i], s = tables.sin[i];
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

/// q -> p.q, k and v -> the cache, at each row's position. Grid: (Heads + 2 KvHeads, rows) blocks of a warp.
template <class T, int Heads, int KvHeads, int HeadDim, bool HeadNorm, bool Round>
__global__ void __launch_bounds__(threads_of::warp) rope_append(const AttentionParams p) {
  const int head = int(blockIdx.x), row = int(blockIdx.y), position = p.position[row];
  TurnTables<T, HeadDim> tables;
  tables.load(HeadNorm ? static_cast<const T*>(head < Heads ? p.q_norm : p.k_norm) : nullptr, p.cos, p.sin, position);
  allow_next();
  wait_for_previous();
  const T* in = static_cast<const T*>(p.qkv) + (i64(row) * (Heads + 2 * KvHeads) + head) * HeadDim;
  const i64 slot = row * p.cache.batch_stride + position * p.cache.position_stride;
  if (head < Heads + KvHeads) {
    T* out = head < Heads ? static_cast<T*>(p.q) + (i64(row) * Heads + head) * HeadDim
                          : static_cast<T*>(p.cache.keys) + slot + (head - Heads) * p.cache.head_stride;
    turn_head<T, HeadDim, HeadNorm, Round>(out, in, tables, p.eps);
  } else {
    copy_head<T, HeadDim>(static_cast<T*>(p.cache.values) + slot + (head - Heads - KvHeads) * p.cache.head_stride, in);
  }
}

}  // namespace fpf::kernel
