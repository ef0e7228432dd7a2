// The two ends of a decode step: token ids to embedding rows; logits to the largest log-probabilities and the
// next token.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// Grid: (a vector of per_vector<T> a thread, rows).
template <class T, int Hidden>
__global__ void __launch_bounds__(threads_of::embed) embed(const EmbeddingParams p) {
  constexpr int vectors = Hidden / per_vector<T>;
  wait_for_previous();
  allow_next();  // so that what later kernels read before their waits is of this step
  const int vector = int(blockIdx.x * threads_of::embed + threadIdx.x), row = int(blockIdx.y);
  if (vector >= vectors) return;
  const i64 token = p.tokens[row];
  static_cast<uint4*>(p.out)[i64(row) * vectors + vector] =
      static_cast<const uint4*>(p.table)[token * vectors + vector];
}

/// An order on (value, index): larger values first, equal ones by the lower index, NaN before every number.
/// The index of a key is that of its low half, inverted.
__device__ __forceinline__ u64 order_key(float value, u32 index) {
  const u32 bits = __float_as_uint(value);
  const u32 ordered = value != value ? 0xffffffffu : (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return (u64(value == 0.0f ? 0x80000000u : ordered) << 32) | u32(~index);
}
__device__ __forceinline__ float value_of(u64 key) {
  const u32 ordered = u32(key >> 32);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

/// The largest key of a block of Threads, in every thread. scratch: Threads / 32; a barrier before its next
/// use is inside.
template <int Threads>
__device__ __forceinline__ u64 block_largest(u64 key, u64* scratch) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const u64 other = __shfl_xor_sync(0xffffffffu, key, offset);
    key = other > key ? other : key;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = key;
  __syncthreads();
  key = scratch[0];
#pragma unroll
  for (int warp = 1; warp < Threads / 32; ++warp) key = scratch[warp] > key ? scratch[warp] : key;
  return key;
}

/// A thread's part of logits [first, end): every Threads-th from its own on, and 0 beyond the end.
template <int Threads, class T, int Each>
__device__ __forceinline__ void load_keys(u64 (&keys)[Each], const T* logits, int first, int end) {
#pragma unroll
  for (int i = 0; i < Each; ++i) {
    const int at = first + i * Threads + int(threadIdx.x);
    keys[i] = at < end ? order_key(to_float(logits[at]), u32(at)) : 0;
  }
}

/// The largest of all keys of a block's threads.
template <int Threads, int Each>
__device__ __forceinline__ u64 largest_key(const u64 (&keys)[Each], u64* scratch) {
  u64 mine = 0;
#pragma unroll
  for (int i = 0; i < Each; ++i) mine = keys[i] > mine ? keys[i] : mine;
  return block_largest<Threads>(mine, scratch);
}

/// Keys are unlike, since each holds its place: one thread loses one.
template <int Each>
__device__ __forceinline__ void take_out(u64 (&keys)[Each], u64 key) {
#pragma unroll
  for (int i = 0; i < Each; ++i)
    if (keys[i] == key) keys[i] = 0;
}

/// First half: the K largest of each block's slice of the vocabulary, its maximum and its sum of
/// exponentials. Grid: (Blocks, rows); a slice is ceil(vocabulary / Blocks) <= threads * Each.
template <class T, int K, int Blocks, int Each>
__global__ void __launch_bounds__(threads_of::log_probs) log_prob_slices(const LogProbParams p) {
  constexpr int threads = threads_of::log_probs;
  __shared__ u64 scratch[threads / 32];
  __shared__ float sums[threads / 32];
  const int row = int(blockIdx.y), slice = (p.vocabulary + Blocks - 1) / Blocks, first = int(blockIdx.x) * slice;
  const int end = min(first + slice, p.vocabulary);
  allow_next();
  wait_for_previous();
  const T* logits = static_cast<const T*>(p.logits) + i64(row) * p.vocabulary;
  u64 keys[Each];
  load_keys<threads>(keys, logits, first, end);
  u64* candidates = static_cast<u64*>(p.candidates) + (i64(row) * Blocks + blockIdx.x) * K;
  float maximum = 0, sum = 0;
#pragma unroll 1
  for (int k = 0; k < K; ++k) {
    const u64 largest = largest_key<threads>(keys, scratch);
    if (threadIdx.x == 0) candidates[k] = largest;
    if (k == 0) {
      maximum = value_of(largest);
#pragma unroll
      for (int i = 0; i < Each; ++i)
        if (keys[i] != 0) sum += expf(value_of(keys[i]) - maximum);
    }
    take_out(keys, largest);
  }
  sum = block_sum<threads>(sum, sums);
  if (threadIdx.x == 0) {
    p.partial[(i64(row) * Blocks + blockIdx.x) * 2] = maximum;
    p.partial[(i64(row) * Blocks + blockIdx.x) * 2 + 1] = end > first ? sum : 0;
  }
}

/// Second half: one block per row. K <= most_best(Blocks), Blocks <= threads. Its choice of the largest is written out:
/// by largest_key and take_out NVRTC makes other machine code of it.
template <int K, int Blocks>
__global__ void __launch_bounds__(threads_of::log_probs) log_probs(const LogProbParams p) {
  constexpr int each = ceil_div(K * Blocks, threads_of::log_probs);
  static_assert(K <= most_best(Blocks) && Blocks <= threads_of::log_probs, "too many candidates for one block");
  __shared__ u64 scratch[threads_of::log_probs / 32];
  __shared__ float sums[threads_of::log_probs / 32];
  const int row = int(blockIdx.x), thread = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  const u64* candidates = static_cast<const u64*>(p.candidates) + i64(row) * Blocks * K;
  const float* partial = p.partial + i64(row) * Blocks * 2;
  u64 keys[each];
#pragma unroll
  for (int i = 0; i < each; ++i)
    keys[i] = i * threads_of::log_probs + thread < K * Blocks ? candidates[i * threads_of::log_probs + thread] : 0;
  float log_sum = 0, maximum = 0;
#pragma unroll 1
  for (int k = 0; k < K; ++k) {
    u64 mine = 0;
#pragma unroll
    for (int i = 0; i < each; ++i) mine = keys[i] > mine ? keys[i] : mine;
    const u64 largest = block_largest<threads_of::log_probs>(mine, scratch);
    if (k == 0) {
      maximum = value_of(largest);
      const float part = thread < Blocks && partial[2 * thread + 1] != 0
                             ? partial[2 * thread + 1] * expf(partial[2 * thread] - maximum)
                             : 0.0f;
      log_sum = logf(block_sum<threads_of::log_probs>(part, sums));
    }
    if (thread == 0) {
      const i32 id = i32(~u32(largest));
      p.ids[row * K + k] = id;
      p.log_probs[row * K + k] = value_of(largest) - maximum - log_sum;
      if (k == 0 && p.next_token != nullptr) p.next_token[row] = id;
    }
#pragma unroll
    for (int i = 0; i < each; ++i)
      if (keys[i] == largest) keys[i] = 0;
  }
  if (thread == 0 && p.position != nullptr) ++p.position[row];
}

}  // namespace fpf::kernel
