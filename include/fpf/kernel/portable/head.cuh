// The two ends of a pass in the portable order: token ids to embedding rows; logits to the largest log-probabilities.
#pragma once

#include <fpf/kernel/ends/head.cuh>
#include <fpf/kernel/portable/common.cuh>

namespace fpf::kernel {

/// Grid: (a value a thread, rows). Id: i32 or i64.
template <class T, class Id, int Hidden>
__global__ void __launch_bounds__(threads_of::portable_values) portable_embed(const PortableEmbedding p) {
  wait_for_previous();
  allow_next();  // so that what later kernels read before their waits is of this step
  const int k = int(blockIdx.x * threads_of::portable_values + threadIdx.x), row = int(blockIdx.y);
  if (k >= Hidden) return;
  const i64 token = static_cast<const Id*>(p.tokens)[row];
  p.out[i64(row) * Hidden + k] = to_float(static_cast<const T*>(p.table)[token * Hidden + k]);
}

/// The K largest logits of each slice. Grid: (Slices, rows); a slice has at most threads * Each logits.
template <int K, int Slices, int Each>
__global__ void __launch_bounds__(threads_of::portable_values) portable_top_slices(const PortableLogProbs p) {
  constexpr int threads = threads_of::portable_values;
  __shared__ u64 scratch[threads / 32];
  const int row = int(blockIdx.y), slice = (p.vocabulary + Slices - 1) / Slices, first = int(blockIdx.x) * slice;
  const int end = min(first + slice, p.vocabulary);
  allow_next();
  wait_for_previous();
  const float* logits = p.logits + i64(row) * p.vocabulary;
  u64 keys[Each];
  load_keys<threads>(keys, logits, first, end);
  u64* candidates = static_cast<u64*>(p.candidates) + (i64(row) * Slices + blockIdx.x) * K;
#pragma unroll 1
  for (int k = 0; k < K; ++k) {
    const u64 largest = largest_key<threads>(keys, scratch);
    if (threadIdx.x == 0) candidates[k] = largest;
    take_out(keys, largest);
  }
}

/// The largest of all slices' first candidates, in every thread of a block.
template <int K, int Slices>
__device__ __forceinline__ u64 largest_candidate(const u64* candidates, u64* scratch) {
  u64 mine = 0;
  for (int s = int(threadIdx.x); s < Slices; s += threads_of::portable_values)
    mine = candidates[s * K] > mine ? candidates[s * K] : mine;
  return block_largest<threads_of::portable_values>(mine, scratch);
}

/// Sums of exp(logit - largest) over blocks of 32. Grid: (a block a thread, rows).
template <int K, int Slices>
__global__ void __launch_bounds__(threads_of::portable_values) portable_exp_sums(const PortableLogProbs p) {
  constexpr int threads = threads_of::portable_values;
  __shared__ u64 scratch[threads / 32];
  const int row = int(blockIdx.y), blocks = portable::blocks_of(p.vocabulary);
  const int b = int(blockIdx.x * threads + threadIdx.x);
  allow_next();
  wait_for_previous();
  const float* logits = p.logits + i64(row) * p.vocabulary;
  const u64 key = largest_candidate<K, Slices>(static_cast<const u64*>(p.candidates) + i64(row) * Slices * K, scratch);
  const float largest = logits[~u32(key)];
  if (b >= blocks) return;
  float sum = 0;
#pragma unroll 8
  for (int k = b * 32; k < min(b * 32 + 32, p.vocabulary); ++k)
    sum = add(sum, portable::exp(portable::sub(logits[k], largest)));
  p.sums[i64(row) * blocks + b] = sum;
}

/// The K best of all, and the next token. One block a row. Dynamic shared memory: a float for each block of 32
/// logits.
template <int K, int Slices>
__global__ void __launch_bounds__(threads_of::portable_values) portable_log_probs(const PortableLogProbs p) {
  constexpr int threads = threads_of::portable_values, each = ceil_div(K * Slices, threads);
  static_assert(K <= most_best(Slices), "too many candidates for one block");
  __shared__ u64 scratch[threads / 32];
  __shared__ float log_sum;
  extern __shared__ __align__(16) u8 dynamic[];
  float* const sums = reinterpret_cast<float*>(dynamic);
  const int row = int(blockIdx.x), t = int(threadIdx.x), blocks = portable::blocks_of(p.vocabulary);
  allow_next();
  wait_for_previous();
#pragma unroll 8
  for (int b = t; b < blocks; b += threads) sums[b] = p.sums[i64(row) * blocks + b];
  __syncthreads();
  if (t < 32) {
    const float total = sum_of_blocks(sums, blocks);
    if (t == 0) log_sum = portable::log(total);
  }
  const u64* candidates = static_cast<const u64*>(p.candidates) + i64(row) * Slices * K;
  const float* logits = p.logits + i64(row) * p.vocabulary;
  u64 keys[each];
#pragma unroll
  for (int i = 0; i < each; ++i) keys[i] = i * threads + t < K * Slices ? candidates[i * threads + t] : 0;
  float maximum = 0;
#pragma unroll 1
  for (int k = 0; k < K; ++k) {
    const u64 largest = largest_key<threads>(keys, scratch);  // whose barriers bring log_sum, too
    const i32 id = i32(~u32(largest));
    const float logit = logits[id];
    if (k == 0) maximum = logit;
    if (t == 0) {
      p.ids[row * K + k] = id;
      p.log_probs[row * K + k] = portable::sub(portable::sub(logit, maximum), log_sum);
      if (k == 0) p.next_token[row] = id;
    }
    take_out(keys, largest);
  }
  if (t == 0) ++p.position[row];
}

/// Grid: a value a thread.
template <class T>
__global__ void __launch_bounds__(threads_of::portable_values) portable_narrow(const PortableNarrow p) {
  wait_for_previous();
  const i64 i = i64(blockIdx.x) * threads_of::portable_values + threadIdx.x;
  if (i < p.count) static_cast<T*>(p.to)[i] = from_float<T>(p.from[i]);
}

}  // namespace fpf::kernel
