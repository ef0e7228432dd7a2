// Attention of one new token per row against its cache: the positions are cut into Splits parts, each part's
// softmax is kept relative to its own maximum, and the parts are combined in their order (flash decoding, Dao
// et al. 2023). The cut depends on the position alone, never on the machine or the load.
#pragma once

#include <fpf/kernel/attention/rope.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/weights/tile.cuh>

namespace fpf::kernel {

inline constexpr int kv_tile = KvTileLayout::positions;

/// Tiles of 16 positions that a part takes: the tiles of positions 0..position are dealt out evenly, in
/// order.
struct TileRange {
  int begin, end;
};
template <int Splits>
__device__ __forceinline__ TileRange tiles_of(int split, int position) {
  const int tiles = position / kv_tile + 1;
  return {split * tiles / Splits, (split + 1) * tiles / Splits};
}

__device__ __forceinline__ float exp2_fast(float value) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

/// exp2(value - maximum) where nothing was seen yet (both -infinity) is nothing.
__device__ __forceinline__ float exp2_below(float value, float maximum) {
  return value == __uint_as_float(0xff800000u) ? 0.0f : exp2_fast(value - maximum);
}

/// What rounding to a pair of bfloat16s left of two values, as such a pair.
__device__ __forceinline__ u32 left_over(u32 rounded, float first, float second) {
  return pack<Bf16>(first - __uint_as_float(rounded << 16), second - __uint_as_float(rounded & 0xffff0000u));
}

/// Transposes 8 x 8 16-bit values held one row of pairs a lane group.
__device__ __forceinline__ u32 transpose8x8(u32 pairs) {
  u32 result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pairs));
  return result;
}

/// A warp's tile of 16 keys and values in shared memory (KvTileLayout), and how its lanes read them: lane 4 g + t takes
/// keys g and g + 8, eight dimensions from 8 t on of each 32; and values 2t, 2t+1, 2t+8, 2t+9, eight dimensions from 8
/// g on of each 64.
template <class T, int HeadDim>
struct KvTile {
  static constexpr KvTileLayout layout{HeadDim};
  static constexpr int row_bytes = layout.row_bytes(), key_stride = layout.key_stride(),
                       value_stride = layout.value_stride();
  u8* shared;

  /// Positions past `position` become zero.
  __device__ __forceinline__ void request(const T* keys, const T* values, i64 stride, int tile, int position) const {
    constexpr int per_row = row_bytes / 16, rows = 32 / per_row;  // copied at once
    const int lane = int(threadIdx.x % 32), column = lane % per_row, first = tile * kv_tile + lane / per_row;
    const i64 from = i64(min(first, position)) * stride + column * 8;
    const T *key = keys + from, *value = values + from;
    u8* to = shared + lane / per_row * key_stride + column * 16;
    u8* value_to = shared + kv_tile * key_stride + lane / per_row * value_stride + column * 16;
#pragma unroll
    for (int i = 0; i < kv_tile; i += rows) {
      const bool seen = first + i <= position;
      copy_async_or_zero(to + i * key_stride, key, seen);
      copy_async_or_zero(value_to + i * value_stride, value, seen);
      if (first + i + rows <= position) {
        key += rows * stride;
        value += rows * stride;
      }
    }
  }
  __device__ __forceinline__ uint4 key(int h, int c) const {
    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    return *reinterpret_cast<const uint4*>(shared + (g + 8 * h) * key_stride + c * 64 + t * 16);
  }
  __device__ __forceinline__ uint4 value(int h, int c) const {
    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    return *reinterpret_cast<const uint4*>(shared + kv_tile * key_stride + (2 * t + h % 2 + h / 2 * 8) * value_stride +
                                           c * 128 + g * 16);
  }
};

/// Running attention of up to 8 query heads over tiles: lane 4 g + t keeps heads 2t and 2t + 1.
template <class T, int HeadDim>
struct HeadSums {
  float out[HeadDim / 16]
           [4];  // [8-dimension group][head 2t dim d, head 2t+1 dim d, head 2t dim d+1, head 2t+1 dim d+1]
  float maximum[2], sum[2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < HeadDim / 16; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) out[i][j] = 0;
    maximum[0] = maximum[1] = __uint_as_float(0xff800000u);
    sum[0] = sum[1] = 0;
  }

  /// query: this lane's vectors of head g (zero past the group), as keys are laid out. scale includes
  /// log2(e).
  __device__ __forceinline__ void add(const KvTile<T, HeadDim>& kv, const uint4 (&query)[HeadDim / 32], float scale,
                                      int tile, int position) {
    const int g = int(threadIdx.x % 32 / 4);
    float score[4] = {};  // key g heads 2t, 2t+1; key g+8 heads 2t, 2t+1
#pragma unroll
    for (int c = 0; c < HeadDim / 32; ++c) {
      const uint4 low = kv.key(0, c), high = kv.key(1, c);
      mma<T>(score, low.x, high.x, low.y, high.y, query[c].x, query[c].y);
      mma<T>(score, low.z, high.z, low.w, high.w, query[c].z, query[c].w);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      score[i] *= scale;
      if (tile * kv_tile + g + i / 2 * 8 > position) score[i] = __uint_as_float(0xff800000u);
    }
    float rescale[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float largest = fmaxf(fmaxf(score[h], score[2 + h]), maximum[h]);
#pragma unroll
      for (int offset = 4; offset < 32; offset *= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
      rescale[h] = exp2_below(maximum[h], largest);
      maximum[h] = largest;
      score[h] = exp2_below(score[h], largest);
      score[2 + h] = exp2_below(score[2 + h], largest);
      float total = score[h] + score[2 + h];
#pragma unroll
      for (int offset = 4; offset < 32; offset *= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
      sum[h] = fmaf(sum[h], rescale[h], total);
    }
    // bfloat16's 8 bits of a probability cost as much again as the result's own rounding: what they leave
    // goes through a second product.
    const u32 p0 = pack<T>(score[0], score[1]), p1 = pack<T>(score[2], score[3]);
    constexpr bool two_terms = same<T, Bf16>;
    u32 rest0 = 0, rest1 = 0;
    if constexpr (two_terms) {
      rest0 = transpose8x8(left_over(p0, score[0], score[1]));
      rest1 = transpose8x8(left_over(p1, score[2], score[3]));
    }
    const u32 first0 = transpose8x8(p0), first1 = transpose8x8(p1);
#pragma unroll
    for (int c = 0; c < HeadDim / 64; ++c) {
      const uint4 values[4] = {kv.value(0, c), kv.value(1, c), kv.value(2, c), kv.value(3, c)};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float(&o)[4] = out[4 * c + i];
        o[0] *= rescale[0];
        o[1] *= rescale[1];
        o[2] *= rescale[0];
        o[3] *= rescale[1];
        const u32 v0 = word_of(values[0], i), v1 = word_of(values[1], i), v2 = word_of(values[2], i),
                  v3 = word_of(values[3], i);
        const u32 a0 = __byte_perm(v0, v1, 0x5410), a1 = __byte_perm(v0, v1, 0x7632), a2 = __byte_perm(v2, v3, 0x5410),
                  a3 = __byte_perm(v2, v3, 0x7632);
        mma<T>(o, a0, a1, a2, a3, first0, first1);
        if constexpr (two_terms) mma<T>(o, a0, a1, a2, a3, rest0, rest1);
      }
    }
  }
};

template <int HeadDim>
inline constexpr int sums_stride = head_sums_stride(HeadDim);

/// Attention of each part. Fused: q and k come raw from the projection; each block norms and turns its query
/// heads, the last part also the new key, which it appends with the new value. Else rope_append has done all
/// that. Grid: (Splits, KvHeads, rows) blocks of 32 * Warps; dynamic shared memory: Warps *
/// attend_warp_bytes(HeadDim).
template <class T, int Heads, int KvHeads, int HeadDim, int Splits, int Warps, bool Fused, bool HeadNorm>
__global__ void __launch_bounds__(32 * Warps, blocks_for(is_hopper ? 112 : 128, 32 * Warps))
    attend(const AttentionParams p) {
  constexpr int group = Heads / KvHeads, padded = HeadDim + 32;
  static_assert(group <= most_group, "at most 8 query heads may share a kv head");
  static_assert(sizeof(T) == 2, "float32 activations have their own kernel");
  static_assert(!Fused || Warps >= 2, "the newest key and value are appended by two warps");
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ __align__(16) T query[most_group][padded];
  __shared__ float part_stats[Warps][most_group][2];
  const int split = int(blockIdx.x), kv_head = int(blockIdx.y), row = int(blockIdx.z);
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32), g = lane / 4, t = lane % 4;

  const int position = p.position[row];  // set by the step before, long complete
  T* keys = static_cast<T*>(p.cache.keys) + row * p.cache.batch_stride + kv_head * p.cache.head_stride;
  T* values = static_cast<T*>(p.cache.values) + row * p.cache.batch_stride + kv_head * p.cache.head_stride;
  const TileRange range = tiles_of<Splits>(split, position);
  const int newest = position / kv_tile;  // the tile that is not complete before the predecessor is
  const KvTile<T, HeadDim> kv{dynamic + warp * attend_warp_bytes(HeadDim)};
  int tile = range.begin + warp;
  const bool early = tile < range.end && tile != newest;
  if (early) kv.request(keys, values, p.cache.position_stride, tile, position);
  const bool appends = Fused && split == Splits - 1 && warp == Warps - 1;
  TurnTables<T, HeadDim> tables;
  if constexpr (Fused)
    tables.load(HeadNorm ? static_cast<const T*>(appends ? p.k_norm : p.q_norm) : nullptr, p.cos, p.sin, position);
  allow_next();
  wait_for_previous();

  const T* qkv = static_cast<const T*>(p.qkv) + i64(row) * (Heads + 2 * KvHeads) * HeadDim;
  constexpr int turners = Fused ? Warps - 1 : Warps;  // the last warp has the new key in the last part
  if (warp < turners) {
    for (int h = warp; h < most_group; h += turners) {
      if (h >= group) {
        for (int d = lane; d < HeadDim; d += 32) query[h][d] = from_float<T>(0.0f);
      } else if constexpr (Fused) {
        turn_head<T, HeadDim, HeadNorm, false>(query[h], qkv + (kv_head * group + h) * HeadDim, tables, p.eps);
      } else {
        copy_head<T, HeadDim>(query[h],
                              static_cast<const T*>(p.q) + (i64(row) * Heads + kv_head * group + h) * HeadDim);
      }
    }
  } else if (appends) {
    const i64 slot = position * p.cache.position_stride;
    turn_head<T, HeadDim, HeadNorm, false>(keys + slot, qkv + (Heads + kv_head) * HeadDim, tables, p.eps);
    copy_head<T, HeadDim>(values + slot, qkv + (Heads + KvHeads + kv_head) * HeadDim);
    __threadfence();  // the tile below is read past the first-level cache
  }
  __syncthreads();

  uint4 mine[HeadDim / 32];
#pragma unroll
  for (int c = 0; c < HeadDim / 32; ++c) mine[c] = *reinterpret_cast<const uint4*>(&query[g][32 * c + 8 * t]);
  HeadSums<T, HeadDim> sums;
  sums.clear();
  const float scale = p.scale * 1.44269504088896340736f;
  bool requested = early;
  for (; tile < range.end; tile += Warps) {
    if (!requested) kv.request(keys, values, p.cache.position_stride, tile, position);
    requested = false;
    copies_done();
    __syncwarp();
    sums.add(kv, mine, scale, tile, position);
    __syncwarp();  // before the next tile takes its place
  }
  __syncthreads();

  // The warps' parts, in their order.
  float* part_out = reinterpret_cast<float*>(dynamic) + warp * most_group * sums_stride<HeadDim>;
#pragma unroll
  for (int i = 0; i < HeadDim / 16; ++i) {
    const int d = i / 4 * 64 + 8 * g + i % 4 * 2;
    *reinterpret_cast<float2*>(part_out + 2 * t * sums_stride<HeadDim> + d) =
        make_float2(sums.out[i][0], sums.out[i][2]);
    *reinterpret_cast<float2*>(part_out + (2 * t + 1) * sums_stride<HeadDim> + d) =
        make_float2(sums.out[i][1], sums.out[i][3]);
  }
  if (g == 0) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      part_stats[warp][2 * t + h][0] = sums.maximum[h];
      part_stats[warp][2 * t + h][1] = sums.sum[h];
    }
  }
  __syncthreads();
  // Threads of a head: each weighs the warps once, and adds up four dimensions at a time.
  constexpr int per_head = 32 * Warps / most_group;
  const int h = int(threadIdx.x) / per_head;
  if (h >= group) return;
  float maximum = part_stats[0][h][0], factor[Warps], sum = 0;
#pragma unroll
  for (int w = 1; w < Warps; ++w) maximum = fmaxf(maximum, part_stats[w][h][0]);
#pragma unroll
  for (int w = 0; w < Warps; ++w) {
    factor[w] = exp2_below(part_stats[w][h][0], maximum);
    sum = fmaf(part_stats[w][h][1], factor[w], sum);
  }
  const i64 at = (i64(row) * Heads + kv_head * group + h) * Splits + split;
  if (int(threadIdx.x) % per_head == 0)
    *reinterpret_cast<float2*>(p.partial_stats + at * 2) = make_float2(maximum, sum);
  const float* parts = reinterpret_cast<const float*>(dynamic) + h * sums_stride<HeadDim>;
  for (int v = int(threadIdx.x) % per_head; v < HeadDim / 4; v += per_head) {
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < Warps; ++w) {
      const float4 part = *reinterpret_cast<const float4*>(parts + w * most_group * sums_stride<HeadDim> + v * 4);
      total.x = fmaf(part.x, factor[w], total.x);
      total.y = fmaf(part.y, factor[w], total.y);
      total.z = fmaf(part.z, factor[w], total.z);
      total.w = fmaf(part.w, factor[w], total.w);
    }
    *reinterpret_cast<float4*>(p.partial + at * HeadDim + v * 4) = total;
  }
}

/// The parts of each head, in their order. Grid: (Heads * HeadDim / 32, rows) blocks of threads_of::combine: four a
/// dimension, each with a quarter of the parts.
template <class T, int Heads, int HeadDim, int Splits>
__global__ void __launch_bounds__(threads_of::combine, blocks_for(64, threads_of::combine))
    combine(const AttentionParams p) {
  constexpr int quarter = (Splits + 3) / 4;
  __shared__ float factor[Splits], partial_sum[4], partial_out[4][32];
  const int head = int(blockIdx.x) / (HeadDim / 32), d = int(blockIdx.x) % (HeadDim / 32) * 32 + int(threadIdx.x % 32);
  const int row = int(blockIdx.y), q = int(threadIdx.x / 32);
  allow_next();
  wait_for_previous();
  const i64 first = (i64(row) * Heads + head) * Splits;
  float values[quarter];
#pragma unroll
  for (int i = 0; i < quarter; ++i) {
    const int s = q * quarter + i;
    values[i] = s < Splits ? p.partial[(first + s) * HeadDim + d] : 0;
  }
  // Every warp finds the same maximum for itself.
  const int lane = int(threadIdx.x % 32);
  float maximum = __uint_as_float(0xff800000u);
  for (int s = lane; s < Splits; s += 32) maximum = fmaxf(maximum, p.partial_stats[(first + s) * 2]);
  maximum = warp_max(maximum);
  float sum = 0;
  for (int s = q * quarter + lane; s < min((q + 1) * quarter, Splits); s += 32) {
    factor[s] = exp2_below(p.partial_stats[(first + s) * 2], maximum);
    sum = fmaf(p.partial_stats[(first + s) * 2 + 1], factor[s], sum);
  }
  sum = warp_sum(sum);
  if (lane == 0) partial_sum[q] = sum;
  __syncwarp();
  float total = 0;
#pragma unroll
  for (int i = 0; i < quarter; ++i)
    if (q * quarter + i < Splits) total = fmaf(values[i], factor[q * quarter + i], total);
  partial_out[q][lane] = total;
  __syncthreads();
  if (q == 0) {
    const float out = (partial_out[0][lane] + partial_out[1][lane]) + (partial_out[2][lane] + partial_out[3][lane]);
    const float weight = (partial_sum[0] + partial_sum[1]) + (partial_sum[2] + partial_sum[3]);
    static_cast<T*>(p.out)[i64(row) * Heads * HeadDim + head * HeadDim + d] = from_float<T>(__fdividef(out, weight));
  }
}

}  // namespace fpf::kernel
