// Attention in the portable order: blocks of 64 positions on their own, then joined one after another. Any number of rows
// of any number of sequences; a row is one token.
#pragma once

#include "portable_common.cuh"
#include "portable_norm.cuh"

namespace fpf::kernel {

/// Norm and RoPE of one head of one row; keys and values go into the cache. Grid: (heads + 2 kv_heads, rows) warps.
template <class T, int Heads, int KvHeads, int D, bool HeadNorm>
__global__ void __launch_bounds__(32) portable_rope_append(const PortableAttention p) {
  constexpr int blocks = (D + block_columns - 1) / block_columns, half = D / 2;
  __shared__ __align__(16) float staged[blocks * block_stride];
  __shared__ float sums[blocks], inverse;
  allow_next();
  wait_for_previous();
  const int head = int(blockIdx.x), row = int(blockIdx.y), lane = int(threadIdx.x), position = p.position[row];
  float* x = p.qkv + (i64(row) * (Heads + 2 * KvHeads) + head) * D;
  const bool is_query = head < Heads, is_value = head >= Heads + KvHeads;
  for (int k = lane; k < D; k += 32) staged[staged_column(k)] = x[k];
  __syncthreads();
  if (!is_value) {
    if constexpr (HeadNorm) {
      const float factor = inverse_rms<D, 32>(staged, sums, &inverse, p.eps);
      const T* weight = static_cast<const T*>(is_query ? p.q_norm : p.k_norm);
      for (int k = lane; k < D; k += 32)
        staged[staged_column(k)] = portable::normalised(staged[staged_column(k)], factor, to_float(weight[k]));
      __syncthreads();
    }
    for (int i = lane; i < half; i += 32) {
      const float a = staged[staged_column(i)], b = staged[staged_column(half + i)];
      const float cos = p.cos[i64(position) * half + i], sin = p.sin[i64(position) * half + i];
      staged[staged_column(i)] = portable::turned_low(a, b, cos, sin);
      staged[staged_column(half + i)] = portable::turned_high(a, b, cos, sin);
    }
    __syncthreads();
  }
  if (is_query) {
    for (int k = lane; k < D; k += 32) x[k] = staged[staged_column(k)];
    return;
  }
  const int kv_head = is_value ? head - Heads - KvHeads : head - Heads;
  T* to = static_cast<T*>(is_value ? p.cache.values : p.cache.keys) + row / p.tokens * p.cache.batch_stride +
          kv_head * p.cache.head_stride + position * p.cache.position_stride;
  for (int k = lane; k < D; k += 32) to[k] = from_float<T>(staged[staged_column(k)]);
}

/// Shared memory of portable_attend.
template <class T, int Group, int D>
struct PortableAttendStage {
  static constexpr int stride = D + 16 / int(sizeof(T));  // of keys
  float q[Group][D];
  float scores[Group][64];
  float p[64][8];
  T keys[64 * stride];
  T values[64 * D];
};

/// One block of 64 positions: every head's largest score, sum of exponentials and weighted values. Grid: (blocks, kv heads,
/// rows) blocks of 160 threads: 128 for products, a warp for the sums. Dynamic shared memory: PortableAttendStage.
template <class T, int Heads, int KvHeads, int D>
__global__ void __launch_bounds__(160) portable_attend(const PortableAttention p) {
  constexpr int group = Heads / KvHeads, half_group = (group + 1) / 2, row_bytes = D * int(sizeof(T));
  constexpr int d_blocks = (D + block_columns - 1) / block_columns, width = per_vector<T>;
  static_assert(D % 32 == 0 && D <= 256 && group <= 8, "heads of a multiple of 32 dimensions, 8 query heads on one");
  extern __shared__ __align__(16) u8 dynamic[];
  auto& s = *reinterpret_cast<PortableAttendStage<T, group, D>*>(dynamic);
  const int b = int(blockIdx.x), kv_head = int(blockIdx.y), row = p.first_row + int(blockIdx.z), t = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  const int position = p.position[row], first = b * 64, count = min(64, position + 1 - first);
  if (count <= 0) return;
  const i64 at =
      row / p.tokens * p.cache.batch_stride + kv_head * p.cache.head_stride + first * p.cache.position_stride;
  const T* keys = static_cast<const T*>(p.cache.keys) + at;
  const T* values = static_cast<const T*>(p.cache.values) + at;
  for (int v = t; v < 64 * row_bytes / 16; v += 160) {
    const int j = v / (row_bytes / 16), part = v % (row_bytes / 16);
    const bool there = j < count;
    const i64 from = (there ? j : 0) * p.cache.position_stride + part * width;
    copy_async_or_zero(s.keys + j * s.stride + part * width, keys + from, there);
    copy_async_or_zero(s.values + j * D + part * width, values + from, there);
  }
  const float* q = p.qkv + (i64(row) * (Heads + 2 * KvHeads) + kv_head * group) * D;
  for (int i = t; i < group * D; i += 160) s.q[i / D][i % D] = q[i];
  copies_done();
  __syncthreads();

  if (t < 128) {  // a thread has a position and half of the heads
    const int j = t % 64, head = t / 64 * half_group;
    float sums[half_group][portable::most_segments];
#pragma unroll
    for (int block = 0; block < d_blocks; ++block) {
#pragma unroll
      for (int h = 0; h < half_group; ++h) sums[h][block] = 0;
#pragma unroll
      for (int k = block * 32; k < block * 32 + 32; k += width) {
        float key[width];
        widen<T>(*reinterpret_cast<const uint4*>(s.keys + j * s.stride + k), key);
#pragma unroll
        for (int h = 0; h < half_group; ++h) {
          const float* from = s.q[min(head + h, group - 1)] + k;
#pragma unroll
          for (int i = 0; i < width; ++i) sums[h][block] = portable::fma(from[i], key[i], sums[h][block]);
        }
      }
    }
#pragma unroll
    for (int h = 0; h < half_group; ++h)
      if (head + h < group) {
        const float score = mul(portable::add_segments(sums[h], d_blocks), p.scale);
        s.scores[head + h][j] = j < count ? score : portable::float_of(0xff800000u);
      }
  }
  __syncthreads();
  float* stats = p.stats + ((i64(row - p.first_row) * Heads + kv_head * group) * p.blocks + b) * 2;
  for (int h = t / 32; h < group; h += 5) {
    const int lane = t % 32;
    const float low = s.scores[h][lane], high = s.scores[h][lane + 32];
    float most = portable::larger(low, high);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
      most = portable::larger(most, __shfl_xor_sync(0xffffffffu, most, offset));
    s.p[lane][h] = portable::exp(portable::sub(low, most));
    s.p[lane + 32][h] = portable::exp(portable::sub(high, most));
    if (lane == 0) stats[i64(h) * p.blocks * 2] = most;
  }
  __syncthreads();
  if (t >= 128) {
    if (t - 128 < group) {
      float sum = 0;
#pragma unroll 16
      for (int j = 0; j < 64; ++j) sum = add(sum, s.p[j][t - 128]);
      stats[i64(t - 128) * p.blocks * 2 + 1] = sum;
    }
    return;
  }
  constexpr int sharing = D >= 128 ? 1 : 128 / D, each = (group + sharing - 1) / sharing;  // threads of one dimension
  for (int d = t % (128 / sharing); d < D; d += 128) {
    const int head = t / (128 / sharing) * each;
    float sums[each];
#pragma unroll
    for (int h = 0; h < each; ++h) sums[h] = 0;
#pragma unroll 8
    for (int j = 0; j < 64; ++j) {
      const float value = to_float(s.values[j * D + d]);
#pragma unroll
      for (int h = 0; h < each; ++h) sums[h] = portable::fma(s.p[j][min(head + h, group - 1)], value, sums[h]);
    }
#pragma unroll
    for (int h = 0; h < each; ++h)
      if (head + h < group)
        p.partial[((i64(row - p.first_row) * Heads + kv_head * group + head + h) * p.blocks + b) * D + d] = sums[h];
  }
}

/// Joins the blocks of one head of one row. Grid: (heads, rows) blocks of 128 threads.
template <int Heads, int D>
__global__ void __launch_bounds__(128) portable_attend_join(const PortableAttention p) {
  __shared__ float maxima[128], old_scales[128], new_scales[128], block_sums[128];
  const int head = int(blockIdx.x), row = p.first_row + int(blockIdx.y), t = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  const int blocks = p.position[row] / 64 + 1;
  const i64 at = (i64(row - p.first_row) * Heads + head) * p.blocks;
  constexpr int each = (D + 127) / 128;
  float sums[each], total = 0, before = portable::float_of(0xff800000u);
#pragma unroll
  for (int i = 0; i < each; ++i) sums[i] = 0;
  for (int first = 0; first < blocks; first += 128) {
    const int count = min(128, blocks - first);
    __syncthreads();
    maxima[t] = t < count ? p.stats[(at + first + t) * 2] : portable::float_of(0xff800000u);
    block_sums[t] = t < count ? p.stats[(at + first + t) * 2 + 1] : 0.0f;
    const float own = maxima[t];
    __syncthreads();
    for (int step = 1; step < 128; step *= 2) {  // the largest of all blocks up to this one
      const float other = t >= step ? maxima[t - step] : portable::float_of(0xff800000u);
      __syncthreads();
      maxima[t] = portable::larger(other, maxima[t]);
      __syncthreads();
    }
    const float next = portable::larger(before, maxima[t]);
    const float last = t == 0 ? before : portable::larger(before, maxima[t - 1]);
    old_scales[t] = portable::exp(portable::sub(last, next));
    new_scales[t] = portable::exp(portable::sub(own, next));
    before = portable::larger(before, maxima[127]);
    __syncthreads();
#pragma unroll 4
    for (int b = 0; b < count; ++b) {
      total = portable::fma(block_sums[b], new_scales[b], mul(total, old_scales[b]));
#pragma unroll
      for (int i = 0; i < each; ++i) {
        const int d = i * 128 + t;
        const float value = d < D ? p.partial[(at + first + b) * D + d] : 0.0f;
        sums[i] = portable::joined(sums[i], add(value, 0.0f), old_scales[b], new_scales[b]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < each; ++i)
    if (i * 128 + t < D) p.out[(i64(row) * Heads + head) * D + i * 128 + t] = portable::div(sums[i], total);
}

}  // namespace fpf::kernel
