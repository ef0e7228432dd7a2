// What the portable execution's kernels share: packed weights in float32, exactly as PORTABLE.md has them, and sums over
// blocks in its order. Compiled without contraction (Builder).
#pragma once

#include <fpf/kernel/shared/portable_arithmetic.hpp>
#include <fpf/kernel/shared/portable_params.hpp>
#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

using portable::add;
using portable::mul;

inline constexpr int block_columns = portable::block;

/// Blocks of a reduction over K.
template <class Weight>
inline constexpr int blocks_in = (Weight::K + block_columns - 1) / block_columns;

/// Columns of block b: 32, fewer in the last.
template <class Weight>
__device__ __forceinline__ int columns_in(int b) {
  if constexpr (Weight::K % block_columns == 0) return block_columns;
  return min(block_columns, Weight::K - b * block_columns);
}

/// The codes of one block of one row, and what makes values of them. load() may come long before values().
template <class Weight>
struct Block;

template <class Scale, int Group, int Columns, bool Permuted>
struct Block<Int4<Scale, Group, Columns, Permuted>> {
  using Weight = Int4<Scale, Group, Columns, Permuted>;
  typename Weight::Piece piece;

  __device__ __forceinline__ void load(const u8* matrix, i64 n, int row, int b) {
    piece = Weight::load(matrix, n, row, 0, u32(b));
  }

  /// A code q at bits 19..22 under the exponent of 1 is 1 + q / 16, at bits 15..18 1 + q / 256. With 16-bit scales
  /// (1 + q / m) * m s - (m + z) s is exact, and so equal to (q - z) s.
  __device__ __forceinline__ void values(int b, const float*, float (&w)[32]) const {
    constexpr int low[4] = {6, 3, 7, 2}, high[4] = {1, 5, 0, 4};  // columns at those bits after each turn by 8
    const u32 words[4] = {piece.codes.x, piece.codes.y, piece.codes.z, piece.codes.w};
    const float scale = to_float(piece.scale), zero = Weight::zero_of(piece, u32(b));
    const float high_scale = mul(16.0f, scale), high_offset = -mul(add(16.0f, zero), scale);
    const float low_scale = mul(256.0f, scale), low_offset = -mul(add(256.0f, zero), scale);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int turn = 0; turn < 4; ++turn) {
        const u32 word = turn == 0 ? words[i] : __funnelshift_r(words[i], words[i], 8 * turn);
        const float a = __uint_as_float(masked_or(word, 0x00078000u, 0x3f800000u));
        const float c = __uint_as_float(masked_or(word, 0x00780000u, 0x3f800000u));
        if constexpr (sizeof(Scale) == 2) {
          w[8 * i + low[turn]] = portable::fma(a, low_scale, low_offset);
          w[8 * i + high[turn]] = portable::fma(c, high_scale, high_offset);
        } else {
          w[8 * i + low[turn]] = portable::int4_weight(portable::fma(a, 256.0f, -256.0f), zero, scale);
          w[8 * i + high[turn]] = portable::int4_weight(portable::fma(c, 16.0f, -16.0f), zero, scale);
        }
      }
  }
};

template <class T, int Columns>
struct Block<Nf4<T, Columns>> {
  using Weight = Nf4<T, Columns>;
  typename Weight::Piece piece;

  __device__ __forceinline__ void load(const u8* matrix, i64 n, int row, int b) {
    piece = Weight::load(matrix, n, row, 0, u32(b));
  }
  __device__ __forceinline__ void values(int, const float* map, float (&w)[32]) const {
    const u32 words[4] = {piece.codes.x, piece.codes.y, piece.codes.z, piece.codes.w};
    const char* base = reinterpret_cast<const char*>(map);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int c = 0; c < 8; ++c)
        w[8 * i + c] = mul(*reinterpret_cast<const float*>(base + Weight::map_offset(words[i], c)), piece.absmax);
  }
};

template <class T, int Columns>
struct Block<Dense<T, Columns>> {
  static constexpr int width = per_vector<T>, vectors = 32 / width;
  uint4 parts[vectors];

  __device__ __forceinline__ void load(const u8* matrix, i64, int row, int b) {
    const u8* at = matrix + (i64(row) * Columns + b * 32) * i64(sizeof(T));
#pragma unroll
    for (int v = 0; v < vectors; ++v)
      if (Columns % 32 == 0 || b * 32 + v * width < Columns) parts[v] = load_stream(at + v * 16);
  }
  __device__ __forceinline__ void values(int, const float*, float (&w)[32]) const {
#pragma unroll
    for (int v = 0; v < vectors; ++v) widen<T>(parts[v], *reinterpret_cast<float(*)[width]>(w + v * width));
  }
};

/// Where column k of x stands among the stored ones, for a matrix whose columns are sorted by group; else k.
template <class Weight>
__device__ __forceinline__ int stored_column(const u8* matrix, i64 n, int k) {
  if constexpr (Weight::permuted)
    return reinterpret_cast<const i32*>(matrix + Weight::columns_at(n))[k];
  else
    return k;
}

/// Brings an NF4 map into shared memory; a barrier must follow.
template <class Weight>
__device__ __forceinline__ void load_code_map(float* map, const u8* matrix, i64 n) {
  if constexpr (has_map<Weight>)
    if (threadIdx.x < 16) map[threadIdx.x] = reinterpret_cast<const float*>(matrix + Weight::map_at(n))[threadIdx.x];
}

namespace detail {

/// The tree over Lanes neighbouring lanes' segments, of which `count` are there. The first has it.
template <int Lanes>
__device__ __forceinline__ float tree_of_segments(float segment_sum, int count) {
  const int segment = int(threadIdx.x % Lanes);
#pragma unroll
  for (int step = 1; step < Lanes; step *= 2) {
    const float other = __shfl_down_sync(0xffffffffu, segment_sum, step, Lanes);
    if (segment % (2 * step) == 0 && segment + step < count) segment_sum = add(segment_sum, other);
  }
  return segment_sum;
}

}  // namespace detail

/// The sum of block sums by eight neighbouring lanes of a warp (all of which must come here): each adds up one segment,
/// then the tree. The first of the eight has it.
__device__ __forceinline__ float sum_of_blocks(const float* sums, int blocks) {
  const int each = portable::segment_blocks(blocks), first = int(threadIdx.x % 8) * each;
  const int end = min(first + each, blocks);
  float total = first < end ? sums[first] : 0.0f;
#pragma unroll 8
  for (int b = first + 1; b < end; ++b) total = add(total, sums[b]);
  return detail::tree_of_segments<8>(total, (blocks + each - 1) / each);
}
template <int Blocks>
__device__ __forceinline__ float sum_of_blocks(const float* sums) {
  constexpr int each = portable::segment_blocks(Blocks);
  const int first = int(threadIdx.x % 8) * each;
  float total = first < Blocks ? sums[first] : 0.0f;
#pragma unroll(each < 16 ? each : 16)
  for (int i = 1; i < each; ++i)
    if (Blocks % each == 0 ? first < Blocks : first + i < Blocks) total = add(total, sums[first + i]);
  return detail::tree_of_segments<8>(total, (Blocks + each - 1) / each);
}

/// Four neighbouring values, widened.
template <class T>
__device__ __forceinline__ float4 four(const T* from) {
  if constexpr (sizeof(T) == 4) {
    return *reinterpret_cast<const float4*>(from);
  } else {
    const uint2 words = *reinterpret_cast<const uint2*>(from);
    const float2 low = unpack<T>(words.x), high = unpack<T>(words.y);
    return make_float4(low.x, low.y, high.x, high.y);
  }
}

/// x in shared memory with room between blocks, so that neighbouring lanes read neighbouring blocks without conflicts.
inline constexpr int block_stride = 36;
__device__ __forceinline__ int staged_column(int k) { return k / block_columns * block_stride + k % block_columns; }

/// Columns k to k + 3 of x go where `matrix` has them.
template <class Weight>
__device__ __forceinline__ void stage_four(float* staged, int k, const float4& four, const u8* matrix, i64 n) {
  if constexpr (Weight::permuted) {
    const int4 to = *reinterpret_cast<const int4*>(reinterpret_cast<const i32*>(matrix + Weight::columns_at(n)) + k);
    staged[staged_column(to.x)] = four.x;
    staged[staged_column(to.y)] = four.y;
    staged[staged_column(to.z)] = four.z;
    staged[staged_column(to.w)] = four.w;
  } else {
    *reinterpret_cast<float4*>(staged + staged_column(k)) = four;
  }
}

/// Block b of the staged x.
__device__ __forceinline__ void load_block(const float* staged, int b, float (&x)[32]) {
#pragma unroll
  for (int k = 0; k < 32; k += 4)
    *reinterpret_cast<float4*>(x + k) = *reinterpret_cast<const float4*>(staged + b * block_stride + k);
}

/// The chain of `columns` products, 32 unless the block is a row's last.
__device__ __forceinline__ float chain(const float (&x)[32], const float (&w)[32], int columns) {
  float sum = 0;
#pragma unroll
  for (int k = 0; k < 32; ++k)
    if (k < columns) sum = portable::fma(x[k], w[k], sum);
  return sum;
}

}  // namespace fpf::kernel
