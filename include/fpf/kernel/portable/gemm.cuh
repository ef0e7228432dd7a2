// Products with many rows in the portable order: tiles of 128 x 128 results, each result's chain in one thread, block
// after block of 32 columns; segments are added up as a tree whose waiting parts lie in local memory.
#pragma once

#include <fpf/kernel/portable/common.cuh>

namespace fpf::kernel {

/// The tile of rows [0, rows) of x (row_of(i) gives their addresses) and of output features from `first_n`; store(i, n,
/// sum) takes what comes out. Threads: threads_of::portable_gemm. Dynamic shared memory: portable_tile_bytes.
template <class Weight, class RowOf, class Store>
__device__ __forceinline__ void tile_product(const u8* matrix, int n, int first_n, int rows, RowOf row_of,
                                             Store store) {
  constexpr int blocks = blocks_in<Weight>, per_segment = portable::segment_blocks(blocks);
  constexpr int threads = threads_of::portable_gemm, tile_stride = portable_tile_stride;
  static_assert(threads == 2 * portable_tile && portable_tile == 128, "a thread brings half a block of a feature");
  extern __shared__ __align__(16) u8 dynamic[];
  float* xs = reinterpret_cast<float*>(dynamic);  // [32][tile_stride]
  float* ws = xs + portable_tile_weights_at;
  float* map = xs + portable_tile_map_at;
  int* input = reinterpret_cast<int*>(xs + portable_tile_columns_at);  // which column of x stands at each stored one
  const int t = int(threadIdx.x), lane = t % 32, warp = t / 32, tx = t % 16, ty = t / 16;
  load_map<Weight>(map, matrix, n);
  if constexpr (Weight::permuted) {
    for (int k = t; k < Weight::K; k += threads) input[stored_column<Weight>(matrix, n, k)] = k;
    __syncthreads();
  }
  // Thread t brings column group `warp` (4 columns) of rows lane, lane + 32, ... and half a block of feature t % 128.
  const float* row[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) row[i] = row_of(min(i * 32 + lane, rows - 1));
  const int feature = min(first_n + t % 128, n - 1), half = t / 128;
  Block<Weight> held;
  float4 x_held[4];
  const auto fetch = [&](int b) {
    held.load(matrix, n, feature, b);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int k = b * 32 + warp * 4;
      if constexpr (Weight::permuted)
        x_held[i] = make_float4(row[i][input[k]], row[i][input[k + 1]], row[i][input[k + 2]], row[i][input[k + 3]]);
      else if (Weight::K % 32 == 0 || k < Weight::K)
        x_held[i] = *reinterpret_cast<const float4*>(row[i] + k);
    }
  };
  float segment[8][8], waiting[3][64];
  int filled = 0;  // segments that are done
  fetch(0);
  for (int b = 0; b < blocks; ++b) {
    __syncthreads();
    {
      float w[32];
      held.values(b, map, w);
#pragma unroll
      for (int k = 0; k < 16; ++k) ws[(half * 16 + k) * tile_stride + t % 128] = half == 0 ? w[k] : w[16 + k];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float* to = xs + warp * 4 * tile_stride + i * 32 + lane;
        to[0] = x_held[i].x;
        to[tile_stride] = x_held[i].y;
        to[2 * tile_stride] = x_held[i].z;
        to[3 * tile_stride] = x_held[i].w;
      }
    }
    __syncthreads();
    if (b + 1 < blocks) fetch(b + 1);
    float sum[8][8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j) sum[i][j] = 0;
    const int columns = columns_in<Weight>(b);
#pragma unroll 4
    for (int k = 0; k < columns; ++k) {
      const float4 a0 = *reinterpret_cast<const float4*>(xs + k * tile_stride + ty * 4);
      const float4 a1 = *reinterpret_cast<const float4*>(xs + k * tile_stride + 64 + ty * 4);
      const float4 b0 = *reinterpret_cast<const float4*>(ws + k * tile_stride + tx * 4);
      const float4 b1 = *reinterpret_cast<const float4*>(ws + k * tile_stride + 64 + tx * 4);
      const float a[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
      const float c[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] = portable::fma(a[i], c[j], sum[i][j]);
    }
    const bool opens = b % per_segment == 0, closes = b % per_segment == per_segment - 1 || b == blocks - 1;
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j) segment[i][j] = opens ? sum[i][j] : add(segment[i][j], sum[i][j]);
    if (!closes) continue;
    // A binary counter: segment number `filled` joins what waits at each level where its number has a one.
    int level = 0;
    for (; (filled >> level & 1) != 0; ++level)
#pragma unroll
      for (int e = 0; e < 64; ++e) segment[e / 8][e % 8] = add(waiting[level][e], segment[e / 8][e % 8]);
    ++filled;
    if (b == blocks - 1) {  // what still waits, from the last on
      for (++level; (filled >> level) != 0; ++level) {
        if ((filled >> level & 1) == 0) continue;
#pragma unroll
        for (int e = 0; e < 64; ++e) segment[e / 8][e % 8] = add(waiting[level][e], segment[e / 8][e % 8]);
      }
    } else {
#pragma unroll
      for (int e = 0; e < 64; ++e) waiting[level][e] = segment[e / 8][e % 8];
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int m = i / 4 * 64 + ty * 4 + i % 4, feature_of = first_n + j / 4 * 64 + tx * 4 + j % 4;
      if (m < rows && feature_of < n) store(m, feature_of, segment[i][j]);
    }
}

/// Grid: (ceil(n / portable_tile), ceil(rows / portable_tile)).
template <class Weight, int Add>
__global__ void __launch_bounds__(threads_of::portable_gemm, 1) portable_gemm(const PortableProduct p) {
  const int first = int(blockIdx.y) * portable_tile;
  wait_for_previous();
  tile_product<Weight>(
      static_cast<const u8*>(p.matrix), p.n, int(blockIdx.x) * portable_tile, min(portable_tile, p.rows - first),
      [&](int i) { return p.x + i64(first + i) * Weight::K; },
      [&](int i, int n, float sum) {
        const i64 at = i64(first + i) * p.n + n;
        p.out[at] = Add == 0 ? sum : add(Add == 2 ? p.bias[n] : p.out[at], sum);
      });
}

/// Grid: (ceil(n / portable_tile), ceil(rows / portable_tile) + experts): block y is one tile of one expert's rows, or
/// none.
template <class Weight>
__global__ void __launch_bounds__(threads_of::portable_gemm, 1) portable_gemm_grouped(const PortableGrouped p) {
  wait_for_previous();
  int tile = int(blockIdx.y), begin = 0, expert = 0, end = 0;
  for (; expert < p.count; ++expert) {
    end = p.ends[expert];
    const int tiles = ceil_div(end - begin, portable_tile);
    if (tile < tiles) break;
    tile -= tiles;
    begin = end;
  }
  if (expert == p.count) return;
  const Expert& e = p.experts[expert];
  const void* matrix = p.projection == 0 ? e.gate : p.projection == 1 ? e.up : e.down;
  const int first = begin + tile * portable_tile;
  tile_product<Weight>(
      static_cast<const u8*>(matrix), p.n, int(blockIdx.x) * portable_tile, min(portable_tile, end - first),
      [&](int i) {
        const int row = p.in_rows == nullptr ? first + i : p.in_rows[first + i] / p.in_divisor;
        return p.x + i64(row) * Weight::K;
      },
      [&](int i, int n, float sum) {
        const int row = p.out_rows == nullptr ? first + i : p.out_rows[first + i];
        p.out[i64(row) * p.n + n] = sum;
      });
}

}  // namespace fpf::kernel
