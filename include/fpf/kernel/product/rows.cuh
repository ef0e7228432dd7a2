// Products of packed weights with 1 to 8 rows on the tensor cores: all rows cost what one costs. 16-bit
// activations, float32 accumulators. A block computes 16 output rows; its warps share the reduction, each
// takes successive blocks of 128 columns, and their sums are added in the order of the warps. A row's result
// does not depend on the other rows.
#pragma once

#include <fpf/kernel/product/gemv.cuh>
#include <fpf/kernel/weights/tile.cuh>

namespace fpf::kernel {

/// Elements between the staged rows of x.
template <class Weight, class T>
inline constexpr int row_stride = staged_stride(staged_size<Weight, T>);

/// Where a matrix's weights, then the rows of x, stand in dynamic shared memory.
template <class Weight, class T>
inline constexpr int tile_bytes = tile_size(Weight::layout());

/// One block of a warp's share; see multiply_block.
template <class Weight, class T, class S>
__device__ __forceinline__ void multiply_rows(const u8* tile, const T* staged, int rows, int share, int i,
                                              const float* map, float (&sums)[4]) {
  multiply_block<Weight, T, S>(
      tile, staged, row_stride<Weight, T>, rows, share, i, map, [](u32 column) { return staged_at<Weight, T>(column); },
      sums);
}

/// Leaves a warp's sums at partial[x row][output row], for the rows there are.
__device__ __forceinline__ void put_tile(const float (&sums)[4], float (*partial)[tile_rows], int rows) {
  const int g = int(threadIdx.x % 32 / 4), t = int(threadIdx.x % 4);
  if (2 * t < rows) {
    partial[2 * t][g] = sums[0];
    partial[2 * t][g + 8] = sums[2];
  }
  if (2 * t + 1 < rows) {
    partial[2 * t + 1][g] = sums[1];
    partial[2 * t + 1][g + 8] = sums[3];
  }
}

/// x [rows, K] -> shared memory at row_stride, normalised when Norm. When it returns, requested copies are
/// there, too.
template <class Weight, class T, int Threads, bool Norm>
__device__ __forceinline__ void stage_rows(T* staged, const GemvParams& p, const NormWeights<Weight, T, Threads>& norm,
                                           float* scratch) {
  for (int r = 0; r < p.rows; ++r) {
    stage_row<Weight, T, Threads, Norm>(staged + r * row_stride<Weight, T>, p, r, norm, scratch);
    if (Norm && r + 1 < p.rows) __syncthreads();  // before scratch is used again
  }
}

/// Grid: n / 16 blocks, rounded up, of 32 * Warps threads; n >= 16, and a multiple of the format's rows. Dynamic shared
/// memory: tile_bytes + rows * row_stride * 2 bytes.
template <class Weight, class T, int Warps, bool Norm, int Add>
__global__ void __launch_bounds__(32 * Warps, blocks_for(Warps > 8 ? 80 : 64, 32 * Warps))
    gemv_rows(const GemvParams p) {
  constexpr int threads = 32 * Warps;
  static_assert(threads >= tile_rows * most_rows, "a thread finishes one result");
  using S = Share<Weight, Warps, 1>;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float partial[Warps][most_rows][tile_rows], scratch[Warps], map[16];
  T* staged = reinterpret_cast<T*>(dynamic + tile_bytes<Weight, T>);
  const u8* matrix = static_cast<const u8*>(p.matrix);
  const int warp = int(threadIdx.x / 32), wanted = int(blockIdx.x) * tile_rows, first = min(wanted, p.n - tile_rows);

  TileRow<Weight, T>::template request_side<tile_rows, threads>(dynamic, 0, matrix, p.n, first, int(threadIdx.x));
  request_share<Weight, T, S>(dynamic, matrix, first, warp);
  NormWeights<Weight, T, threads> norm;
  if constexpr (Norm) norm.load(p.norm_weight);
  load_map<Weight>(map, matrix, p.n);
  allow_next();
  wait_for_previous();

  // Each of the first threads finishes one result, and fetches early what it will add to it.
  const int r = int(threadIdx.x / tile_rows), column = first + int(threadIdx.x % tile_rows);
  const bool finishes = r < p.rows && column >= wanted;  // before `wanted` it is another block's
  const i64 at = i64(r) * p.n + column;
  float residual = 0;
  if constexpr (Add != 0)
    if (finishes) residual = to_float(static_cast<const T*>(p.residual)[Add == 2 ? column : at]);
  stage_rows<Weight, T, threads, Norm>(staged, p, norm, scratch);
  wait_side<S>();
  __syncthreads();
  float sums[4] = {};
#pragma unroll 1  // short code, few registers: other warps fill the gaps
  for (int i = 0; i < S::each; ++i) multiply_rows<Weight, T, S>(dynamic, staged, p.rows, warp, i, map, sums);
  put_tile(sums, partial[warp], p.rows);
  __syncthreads();
  if (!finishes) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < Warps; ++w) total += partial[w][r][threadIdx.x % tile_rows];
  static_cast<T*>(p.out)[at] = from_float<T>(total + residual);
}

}  // namespace fpf::kernel
