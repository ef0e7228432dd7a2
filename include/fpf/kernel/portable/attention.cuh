// Attention in the portable order: blocks of 64 positions on their own, then joined one after another. Any number of
// rows of any number of sequences; a row is one token.
#pragma once

#include <fpf/kernel/portable/common.cuh>
#include <fpf/kernel/portable/norm.cuh>

namespace fpf::kernel {

__device__ __forceinline__ void turn_pair(float& a, float& b, float cos, float sin) {
  const float low = portable::turned_low(a, b, cos, sin), high = portable::turned_high(a, b, cos, sin);
  a = low;
  b = high;
}

/// Norm and RoPE of one head of one row; keys and values go into the cache. Grid: (heads + 2 kv_heads, rows) warps.
template <class T, int Heads, int KvHeads, int HeadDim, bool HeadNorm>
__global__ void __launch_bounds__(threads_of::warp) portable_rope_append(const PortableAttention p) {
  constexpr int blocks = portable::blocks_of(HeadDim), half = HeadDim / 2;
  __shared__ __align__(16) float staged[blocks * block_stride];
  __shared__ float sums[blocks];
  allow_next();
  wait_for_previous();
  const int head = int(blockIdx.x), row = int(blockIdx.y), lane = int(threadIdx.x), position = p.position[row];
  float* x = p.qkv + (i64(row) * (Heads + 2 * KvHeads) + head) * HeadDim;
  const bool is_query = head < Heads, is_value = head >= Heads + KvHeads;
  for (int k = lane; k < HeadDim; k += 32) staged[staged_column(k)] = x[k];
  __syncthreads();
  if (!is_value) {
    if constexpr (HeadNorm) {
      const float factor = inverse_rms<HeadDim, 32>(staged, sums, p.eps);
      const T* weight = static_cast<const T*>(is_query ? p.q_norm : p.k_norm);
      for (int k = lane; k < HeadDim; k += 32)
        staged[staged_column(k)] = portable::normalised(staged[staged_column(k)], factor, to_float(weight[k]));
      __syncthreads();
    }
    for (int i = lane; i < half; i += 32)
      turn_pair(staged[staged_column(i)], staged[staged_column(half + i)], p.cos[i64(position) * half + i],
                p.sin[i64(position) * half + i]);
    __syncthreads();
  }
  if (is_query) {
    for (int k = lane; k < HeadDim; k += 32) x[k] = staged[staged_column(k)];
    return;
  }
  const int kv_head = is_value ? head - Heads - KvHeads : head - Heads;
  T* to = static_cast<T*>(is_value ? p.cache.values : p.cache.keys) + row / p.tokens * p.cache.batch_stride +
          kv_head * p.cache.head_stride + position * p.cache.position_stride;
  for (int k = lane; k < HeadDim; k += 32) to[k] = from_float<T>(staged[staged_column(k)]);
}

/// Shared memory of portable_attend. Blocks of 32 dimensions have room between them, so that lanes which read different
/// ones do not wait for each other.
template <class T, int Group, int HeadDim>
struct PortableAttendStage {
  static constexpr int positions = portable::position_block;
  static constexpr int blocks = HeadDim / 32, key_block = 32 + 16 / int(sizeof(T)), key_row = blocks * key_block;
  // on 16 bytes:
  float q[Group + 1][blocks * block_stride];  // at staged_column(); the last is the new key
  T keys[positions * key_row];
  T values[positions * HeadDim];
  float p[positions][most_group];
  // on 4:
  float scores[Group][positions];
  float norms[2][HeadDim], cos[HeadDim / 2], sin[HeadDim / 2];
  float sums[Group + 1][portable::most_segments], inverse[Group + 1];

  __device__ static __forceinline__ int key_at(int position, int k) {
    return position * key_row + k / 32 * key_block + k % 32;
  }
};

/// One block of 64 positions: every head's largest score, sum of exponentials and weighted values. Grid: (blocks, kv
/// heads, rows). Dynamic shared memory: PortableAttendStage.
/// Append: each row is a sequence's only new token, whose q, k and v are as the product left them: they are normalised
/// and turned here, and k and v go into the cache; what is there of earlier positions is fetched before that product is
/// done.
template <class T, int Heads, int KvHeads, int HeadDim, bool HeadNorm, bool Append>
__global__ void __launch_bounds__(threads_of::portable_attend) portable_attend(const PortableAttention p) {
  constexpr int threads = threads_of::portable_attend, positions = portable::position_block;
  constexpr int group = Heads / KvHeads, half_group = (group + 1) / 2, half = HeadDim / 2, d_blocks = HeadDim / 32;
  constexpr int width = per_vector<T>, vectors = HeadDim / width;
  static_assert(HeadDim % 32 == 0 && HeadDim <= portable_most_dimensions && group <= most_group,
                "heads of a multiple of 32 dimensions, 8 query heads on one");
  extern __shared__ __align__(16) u8 dynamic[];
  static_assert(threads == 128 + 32, "128 for products, a warp for the sums");
  using Stage = PortableAttendStage<T, group, HeadDim>;
  static_assert(sizeof(Stage) == portable_attend_bytes(group, HeadDim, int(sizeof(T))),
                "the plan asks for the stage's size");
  auto& s = *reinterpret_cast<Stage*>(dynamic);
  const int b = int(blockIdx.x), kv_head = int(blockIdx.y), row = p.first_row + int(blockIdx.z), t = int(threadIdx.x);
  allow_next();
  if constexpr (!Append) wait_for_previous();
  const int position = p.position[row], first = b * positions, count = min(positions, position + 1 - first);
  if (count <= 0) return;
  const int fresh = Append ? position - first : positions;  // where the new position is among these, if it is
  const i64 at =
      row / p.tokens * p.cache.batch_stride + kv_head * p.cache.head_stride + first * p.cache.position_stride;
  T* keys = static_cast<T*>(p.cache.keys) + at;
  T* values = static_cast<T*>(p.cache.values) + at;
  for (int v = t; v < positions * vectors; v += threads) {
    const int j = v / vectors, k = v % vectors * width;
    if (j == fresh) continue;
    const bool there = j < count;
    const i64 from = (there ? j : 0) * p.cache.position_stride + k;
    copy_async_or_zero(s.keys + s.key_at(j, k), keys + from, there);
    copy_async_or_zero(s.values + j * HeadDim + k, values + from, there);
  }
  if constexpr (Append) {
    for (int i = t; i < half; i += threads) {
      s.cos[i] = p.cos[i64(position) * half + i];
      s.sin[i] = p.sin[i64(position) * half + i];
    }
    if constexpr (HeadNorm)
      for (int i = t; i < HeadDim; i += threads) {
        s.norms[0][i] = to_float(static_cast<const T*>(p.q_norm)[i]);
        s.norms[1][i] = to_float(static_cast<const T*>(p.k_norm)[i]);
      }
    wait_for_previous();
  }
  const float* qkv = p.qkv + i64(row) * (Heads + 2 * KvHeads) * HeadDim;
  const int heads = Append && fresh < positions ? group + 1 : group;
  for (int i = t * 4; i < heads * HeadDim; i += threads * 4)
    *reinterpret_cast<float4*>(s.q[i / HeadDim] + staged_column(i % HeadDim)) = *reinterpret_cast<const float4*>(
        qkv +
        (i < group * HeadDim ? kv_head * group * HeadDim + i : (Heads + kv_head) * HeadDim + i - group * HeadDim));
  if constexpr (Append) {
    __syncthreads();
    if constexpr (HeadNorm) {
      for (int i = t; i < heads * d_blocks; i += threads) {
        float x[32];
        load_block(s.q[i / d_blocks], i % d_blocks, x);
        s.sums[i / d_blocks][i % d_blocks] = chain(x, x, 32);
      }
      __syncthreads();
      if (t < heads) {
        float sums[portable::most_segments];
#pragma unroll
        for (int block = 0; block < d_blocks; ++block) sums[block] = s.sums[t][block];
        s.inverse[t] = portable::inverse_root(portable::add_segments(sums, d_blocks), float(HeadDim), p.eps);
      }
      __syncthreads();
    }
    for (int i = t; i < heads * half; i += threads) {
      const int h = i / half, k = i % half;
      float low = s.q[h][staged_column(k)], high = s.q[h][staged_column(half + k)];
      if constexpr (HeadNorm) {
        const float* weight = s.norms[h < group ? 0 : 1];
        low = portable::normalised(low, s.inverse[h], weight[k]);
        high = portable::normalised(high, s.inverse[h], weight[half + k]);
      }
      turn_pair(low, high, s.cos[k], s.sin[k]);
      s.q[h][staged_column(k)] = low;
      s.q[h][staged_column(half + k)] = high;
      if (h == group) {
        T* const to = keys + i64(fresh) * p.cache.position_stride;
        s.keys[s.key_at(fresh, k)] = to[k] = from_float<T>(low);
        s.keys[s.key_at(fresh, half + k)] = to[half + k] = from_float<T>(high);
      }
    }
    if (fresh < positions)
      for (int d = t; d < HeadDim; d += threads)
        s.values[fresh * HeadDim + d] = values[i64(fresh) * p.cache.position_stride + d] =
            from_float<T>(qkv[(Heads + KvHeads + kv_head) * HeadDim + d]);
  }
  copies_done();
  __syncthreads();

  if (t <
      128) {  // a thread has half of the heads at some positions, and one block of dimensions: so many lanes a score
    constexpr int lanes = d_blocks <= 2 ? d_blocks : d_blocks <= 4 ? 4 : 8, places = lanes;
    const int block = t % lanes, place = t % 64 / lanes, head = t / 64 * half_group;
    float sums[places][half_group];
#pragma unroll
    for (int i = 0; i < places; ++i)
#pragma unroll
      for (int h = 0; h < half_group; ++h) sums[i][h] = 0;
    if (block < d_blocks)
#pragma unroll
      for (int k = 0; k < 32; k += width) {
        float key[places][width];
#pragma unroll
        for (int i = 0; i < places; ++i)
          widen<T>(*reinterpret_cast<const uint4*>(s.keys + s.key_at(place + i * (64 / places), block * 32 + k)),
                   key[i]);
#pragma unroll
        for (int h = 0; h < half_group; ++h) {
          float q[width];
#pragma unroll
          for (int j = 0; j < width; j += 4)
            *reinterpret_cast<float4*>(q + j) =
                *reinterpret_cast<const float4*>(s.q[head + h] + block * block_stride + k + j);
#pragma unroll
          for (int j = 0; j < width; ++j)
#pragma unroll
            for (int i = 0; i < places; ++i) sums[i][h] = portable::fma(q[j], key[i][j], sums[i][h]);
        }
      }
#pragma unroll
    for (int i = 0; i < places; ++i)
#pragma unroll
      for (int h = 0; h < half_group; ++h) {
        const float score = mul(detail::tree_of_segments<lanes>(sums[i][h], d_blocks), p.scale);
        const int j = place + i * (64 / places);
        if (block == 0 && head + h < group) s.scores[head + h][j] = j < count ? score : portable::float_of(0xff800000u);
      }
  }
  __syncthreads();
  float* stats = p.stats + ((i64(row - p.first_row) * Heads + kv_head * group) * p.blocks + b) * 2;
  for (int h = t / 32; h < group; h += threads / 32) {
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
      for (int j = 0; j < positions; ++j) sum = add(sum, s.p[j][t - 128]);
      stats[i64(t - 128) * p.blocks * 2 + 1] = sum;
    }
    return;
  }
  // a thread has four dimensions of `each` heads
  constexpr int quads = HeadDim / 4, least = (group * quads + 127) / 128;
  constexpr int each = least <= 2 ? least : least <= 4 ? 4 : 8;
  const int d = t % quads * 4, head = t / quads * each;
  if (head >= group) return;
  float sums[each][4];
#pragma unroll
  for (int h = 0; h < each; ++h)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[h][i] = 0;
#pragma unroll 8
  for (int j = 0; j < positions; ++j) {
    const float4 value = four(s.values + j * HeadDim + d);
#pragma unroll
    for (int h = 0; h < each; ++h) {
      const float weight = s.p[j][head + h];
      sums[h][0] = portable::fma(weight, value.x, sums[h][0]);
      sums[h][1] = portable::fma(weight, value.y, sums[h][1]);
      sums[h][2] = portable::fma(weight, value.z, sums[h][2]);
      sums[h][3] = portable::fma(weight, value.w, sums[h][3]);
    }
  }
#pragma unroll
  for (int h = 0; h < each; ++h)
    if (head + h < group)
      *reinterpret_cast<float4*>(
          p.partial + ((i64(row - p.first_row) * Heads + kv_head * group + head + h) * p.blocks + b) * HeadDim + d) =
          make_float4(sums[h][0], sums[h][1], sums[h][2], sums[h][3]);
}

/// Joins the blocks of 32 dimensions of one head of one row. Grid: (heads * HeadDim / 32, rows): each thread
/// has one of as many blocks, then the first 32 a dimension.
template <int Heads, int HeadDim>
__global__ void __launch_bounds__(threads_of::portable_join) portable_attend_join(const PortableAttention p) {
  constexpr int threads = threads_of::portable_join;
  struct __align__(16) Step {
    float old_scale, new_scale, sum, unused;
  };
  __shared__ __align__(16) float values[threads][32];
  __shared__ Step steps[threads];
  __shared__ float maxima[threads / 32];
  constexpr int parts = HeadDim / 32;
  const int head = int(blockIdx.x) / parts, part = int(blockIdx.x) % parts, row = p.first_row + int(blockIdx.y);
  const int t = int(threadIdx.x), lane = t % 32, warp = t / 32;
  const float none = portable::float_of(0xff800000u);
  allow_next();
  wait_for_previous();
  const int blocks = p.position[row] / portable::position_block + 1;
  const i64 at = (i64(row - p.first_row) * Heads + head) * p.blocks;
  float value = 0, total = 0, before = none;
  for (int first = 0; first < blocks; first += threads) {
    const int count = min(threads, blocks - first);
    __syncthreads();
    for (int v = t; v < count * 8; v += threads)
      copy_async_or_zero(&values[v / 8][v % 8 * 4], p.partial + (at + first + v / 8) * HeadDim + part * 32 + v % 8 * 4,
                         true);
    const float2 stats =
        t < count ? *reinterpret_cast<const float2*>(p.stats + (at + first + t) * 2) : make_float2(none, 0.0f);
    float up_to = stats.x;  // the largest of this warp's blocks up to this one
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const float other = __shfl_up_sync(0xffffffffu, up_to, offset);
      if (lane >= offset) up_to = portable::larger(other, up_to);
    }
    if (lane == 31) maxima[warp] = up_to;
    __syncthreads();
    float all = before;
#pragma unroll
    for (int w = 0; w < threads / 32; ++w) {
      if (w == warp) before = all;
      all = portable::larger(all, maxima[w]);
    }
    const float previous = __shfl_up_sync(0xffffffffu, up_to, 1);
    const float last = lane == 0 ? before : portable::larger(before, previous), next = portable::larger(before, up_to);
    steps[t] = {portable::exp(portable::sub(last, next)), portable::exp(portable::sub(stats.x, next)), stats.y, 0.0f};
    before = all;
    copies_done();
    __syncthreads();
    if (warp != 0) continue;
#pragma unroll 8
    for (int b = 0; b < count; ++b) {
      const Step step = steps[b];
      total = portable::fma(step.sum, step.new_scale, mul(total, step.old_scale));
      value = portable::joined(value, add(values[b][lane], 0.0f), step.old_scale, step.new_scale);
    }
  }
  if (warp == 0) p.out[(i64(row) * Heads + head) * HeadDim + part * 32 + lane] = portable::div(value, total);
}

}  // namespace fpf::kernel
