// Attention of one new token per row as a framework writes it out, each result rounded to T: scores, their
// scaling, softmax in float32, product with the values. rope_append comes before.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// T(T(q k) * scale) for the positions that a row sees. Grid: (any number, KvHeads, rows) blocks of
/// threads_of::eager_scores; a warp takes one position at a time, its lane l the dimensions l + 32 i.
template <class T, int Heads, int KvHeads, int HeadDim>
__global__ void __launch_bounds__(threads_of::eager_scores) eager_scores(const AttentionParams p) {
  constexpr int warps = threads_of::eager_scores / 32;
  constexpr int group = Heads / KvHeads, each = HeadDim / 32;
  static_assert(group <= most_group, "at most 8 query heads may share a kv head");
  const int kv_head = int(blockIdx.y), row = int(blockIdx.z), lane = int(threadIdx.x % 32);
  allow_next();
  wait_for_previous();
  const int position = p.position[row];
  const T* keys = static_cast<const T*>(p.cache.keys) + row * p.cache.batch_stride + kv_head * p.cache.head_stride;
  const T* q = static_cast<const T*>(p.q) + (i64(row) * Heads + kv_head * group) * HeadDim;
  T* scores = static_cast<T*>(p.scores) + (i64(row) * Heads + kv_head * group) * p.capacity;
  float query[group][each];
#pragma unroll
  for (int h = 0; h < group; ++h)
#pragma unroll
    for (int i = 0; i < each; ++i) query[h][i] = to_float(q[h * HeadDim + i * 32 + lane]);
  for (int at = int(blockIdx.x * warps + threadIdx.x / 32); at <= position; at += int(gridDim.x) * warps) {
    float score[most_group] = {};
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const float key = to_float(keys[at * p.cache.position_stride + i * 32 + lane]);
#pragma unroll
      for (int h = 0; h < group; ++h) score[h] = fmaf(query[h][i], key, score[h]);
    }
    warp_sums(score);  // of head lane / 4
    if (lane % 4 == 0 && lane / 4 < group)
      scores[i64(lane / 4) * p.capacity + at] = from_float<T>(rounded<T>(score[0]) * p.scale);
  }
}

/// The scores' softmax in float32, rounded to T, in their place. Grid: (Heads, rows) blocks of
/// threads_of::eager_softmax.
template <class T, int Heads>
__global__ void __launch_bounds__(threads_of::eager_softmax) eager_softmax(const AttentionParams p) {
  constexpr int threads = threads_of::eager_softmax, warps = threads / 32;
  __shared__ float maxima[warps], sums[warps];
  const int row = int(blockIdx.y), thread = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  const int count = p.position[row] + 1;
  T* scores = static_cast<T*>(p.scores) + (i64(row) * Heads + blockIdx.x) * p.capacity;
  float maximum = __uint_as_float(0xff800000u), sum = 0;
  for (int i = thread; i < count; i += threads) maximum = fmaxf(maximum, to_float(scores[i]));
  maximum = warp_max(maximum);
  if (thread % 32 == 0) maxima[thread / 32] = maximum;
  __syncthreads();
  for (int warp = 0; warp < warps; ++warp) maximum = fmaxf(maximum, maxima[warp]);
  for (int i = thread; i < count; i += threads) sum += expf(to_float(scores[i]) - maximum);
  sum = block_sum<threads>(sum, sums);
  for (int i = thread; i < count; i += threads) scores[i] = from_float<T>(expf(to_float(scores[i]) - maximum) / sum);
}

/// The values, weighted: warp w takes the positions w + Warps j, and the warps' sums are added in their
/// order. Grid: (Heads, rows) blocks of 32 * Warps.
template <class T, int Heads, int KvHeads, int HeadDim, int Warps>
__global__ void __launch_bounds__(32 * Warps) eager_product(const AttentionParams p) {
  constexpr int each = HeadDim / 32;
  __shared__ float part[Warps][HeadDim];
  const int head = int(blockIdx.x), row = int(blockIdx.y), warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32);
  allow_next();
  wait_for_previous();
  const int count = p.position[row] + 1;
  const T* weights = static_cast<const T*>(p.scores) + (i64(row) * Heads + head) * p.capacity;
  const T* values = static_cast<const T*>(p.cache.values) + row * p.cache.batch_stride +
                    head / (Heads / KvHeads) * p.cache.head_stride;
  float sum[each] = {};
#pragma unroll 4
  for (int at = warp; at < count; at += Warps) {
    const float weight = to_float(weights[at]);
#pragma unroll
    for (int i = 0; i < each; ++i)
      sum[i] = fmaf(weight, to_float(values[at * p.cache.position_stride + i * 32 + lane]), sum[i]);
  }
#pragma unroll
  for (int i = 0; i < each; ++i) part[warp][i * 32 + lane] = sum[i];
  __syncthreads();
  for (int d = int(threadIdx.x); d < HeadDim; d += 32 * Warps) {
    float total = 0;
    for (int w = 0; w < Warps; ++w) total += part[w][d];
    static_cast<T*>(p.out)[(i64(row) * Heads + head) * HeadDim + d] = from_float<T>(total);
  }
}

}  // namespace fpf::kernel
