// What the portable execution's kernels share: packed weights in float32, exactly as PORTABLE.md has them, and sums
// over blocks in its order. Compiled without contraction (Builder).
#pragma once

#include <fpf/kernel/shared/portable_arithmetic.hpp>
#include <fpf/kernel/shared/portable_layout.hpp>
#include <fpf/kernel/shared/portable_params.hpp>
#include <fpf/kernel/weights/formats.cuh>

namespace fpf::kernel {

using portable::add;
using portable::mul;

inline constexpr int block_columns = portable::block;

/// Blocks of a reduction over K.
template <class Weight>
inline constexpr int blocks_in = portable::blocks_of(Weight::K);

/// Columns of block b: 32, fewer in the last.
template <class Weight>
__device__ __forceinline__ int columns_in(int b) {
  if constexpr (Weight::K % block_columns == 0) return block_columns;
  return min(block_columns, Weight::K - b * block_columns);
}

/// Where column k of x stands among the stored ones, for a matrix whose columns are sorted by group; else k.
template <class Weight>
__device__ __forceinline__ int stored_column(const u8* matrix, i64 n, int k) {
  if constexpr (Weight::permuted)
    return reinterpret_cast<const i32*>(matrix + Weight::columns_at(n))[k];
  else
    return k;
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

/// Where column k of x stands in shared memory.
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
