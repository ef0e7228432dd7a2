// Products of packed weights with 1 to 8 rows on the matrix units: all rows cost what one costs. 16-bit
// activations, float32 accumulators. A block computes 16 output rows; its warps share the reduction, each
// takes every Warps-th 128 columns, and their sums are added in the order of the warps. A row's result does
// not depend on the other rows.
//
// mma.m16n8k16 multiplies weights (16 x 16) by x (16 x 8). Which columns of the reduction stand at which k is
// free as long as both sides agree: thread t of four takes 32 successive columns of each 128 (four times 8
// for dense weights), so that its weights are whole 16-byte loads.
#pragma once

#include "gemv.cuh"

namespace fpf::kernel {

/// c += a (16 x 16, row-major pairs) * b (16 x 8)
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  if constexpr (same<T, Bf16>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Elements between the staged rows of x: 16 words more than a multiple of 32, so that rows meet in different
/// banks.
template <class Weight, class T>
inline constexpr int row_stride = (staged_size<Weight, T> + 63) / 64 * 64 + 32;

/// A warp's share of 16 rows of weights, in registers. Lane 4 g + t holds rows g and g + 8.
template <class Weight, int Warps>
struct WeightTile {
  static constexpr int blocks = (Weight::K + 127) / 128;  // of 128 columns
  static constexpr int per_warp = (blocks + Warps - 1) / Warps;
  static constexpr int pieces = Weight::chunk == 32 ? 1 : 4;  // per lane, row and block
  static constexpr bool full = Weight::K % 128 == 0 && blocks % Warps == 0;
  static_assert(Weight::chunk == 32 || Weight::chunk == 8, "the matrix units take 16-bit weights");

  typename Weight::Piece low[per_warp][pieces], high[per_warp][pieces];

  /// Number of a piece within its row, in chunks.
  __device__ static __forceinline__ u32 index(int warp, int b, int p) {
    return u32(b * Warps + warp) * u32(128 / Weight::chunk) + u32(4 * p) + threadIdx.x % 4;
  }
  __device__ static __forceinline__ bool inside(u32 index) {
    return full || index < Weight::K / Weight::chunk;
  }

  __device__ __forceinline__ void load(const u8* matrix, int n, int first, int warp) {
    const int g = int(threadIdx.x % 32 / 4);
#pragma unroll
    for (int b = 0; b < per_warp; ++b) {
#pragma unroll
      for (int p = 0; p < pieces; ++p) {
        const u32 i = index(warp, b, p);
        low[b][p] = {};
        high[b][p] = {};
        if (!inside(i)) continue;
        low[b][p] = Weight::load(matrix, n, first + g, 0, i);
        high[b][p] = Weight::load(matrix, n, first + g, 8, i);
      }
    }
  }

  /// sums += this share's products: sums[0], [1] are output row g with rows 2t, 2t+1 of x, [2], [3] output
  /// row g + 8.
  template <class T>
  __device__ __forceinline__ void multiply(const T* staged, int rows, int warp, const float* map,
                                           float (&sums)[4]) const {
    const int g = int(threadIdx.x % 32 / 4);
#pragma unroll
    for (int b = 0; b < per_warp; ++b) {
      float block[4] = {};
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const int p = pieces == 1 ? 0 : w;
        const u32 i = index(warp, b, p);
        uint4 x = make_uint4(0, 0, 0, 0);
        if (g < rows && inside(i)) {
          const u32 column = i * u32(Weight::chunk) + (pieces == 1 ? 8 * w : 0);
          x = *reinterpret_cast<const uint4*>(staged + g * row_stride<Weight, T> +
                                              staged_at<Weight, T>(column));
        }
        u32 lower[4], upper[4];
        Weight::template expand<T>(low[b][p], i, w, map, lower);
        Weight::template expand<T>(high[b][p], i, w, map, upper);
        mma<T>(block, lower[0], upper[0], lower[1], upper[1], x.x, x.y);
        mma<T>(block, lower[2], upper[2], lower[3], upper[3], x.z, x.w);
      }
      if constexpr (Weight::scaled_after) {
        const float low_scale = Weight::template after<T>(low[b][0]),
                    high_scale = Weight::template after<T>(high[b][0]);
        sums[0] = fmaf(low_scale, block[0], sums[0]);
        sums[1] = fmaf(low_scale, block[1], sums[1]);
        sums[2] = fmaf(high_scale, block[2], sums[2]);
        sums[3] = fmaf(high_scale, block[3], sums[3]);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[i] += block[i];
      }
    }
  }
};

/// Leaves a warp's sums at partial[x row][output row], for the rows there are.
__device__ __forceinline__ void put_tile(const float (&sums)[4], float (*partial)[16], int rows) {
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

/// x [rows, K] -> shared memory at row_stride, normalised when Norm.
template <class Weight, class T, int Threads, bool Norm>
__device__ __forceinline__ void stage_rows(T* staged, const GemvParams& p,
                                           const NormWeights<Weight, T, Threads>& norm, float* scratch) {
  const u8* matrix = static_cast<const u8*>(p.matrix);
  for (int r = 0; r < p.rows; ++r) {
    const T* x = static_cast<const T*>(p.x) + i64(r) * Weight::K;
    T* row = staged + r * row_stride<Weight, T>;
    if constexpr (Norm) {
      T* normed =
          blockIdx.x == 0 && p.normed != nullptr ? static_cast<T*>(p.normed) + i64(r) * Weight::K : nullptr;
      stage_normed<Weight, T, Threads>(row, x, norm, p.eps, normed, scratch, matrix, p.n);
      if (r + 1 < p.rows) __syncthreads();  // before scratch is used again
    } else {
      stage<Weight, T, Threads>(row, x, matrix, p.n, int(threadIdx.x));
    }
  }
  __syncthreads();
}

/// Grid: ceil(n / 16) blocks of 32 * Warps threads; n >= 16. Dynamic shared memory: rows * row_stride<Weight,
/// T> * 2 bytes.
template <class Weight, class T, int Warps, bool Norm, bool Add>
__global__ void __launch_bounds__(32 * Warps) gemv_rows(const GemvParams p) {
  constexpr int threads = 32 * Warps;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float partial[Warps][8][16], scratch[Warps], map[16];
  T* staged = reinterpret_cast<T*>(dynamic);
  const u8* matrix = static_cast<const u8*>(p.matrix);
  const int warp = int(threadIdx.x / 32), wanted = int(blockIdx.x) * 16, first = min(wanted, p.n - 16);

  WeightTile<Weight, Warps> tile;
  tile.load(matrix, p.n, first, warp);
  NormWeights<Weight, T, threads> norm;
  if constexpr (Norm) norm.load(p.norm_weight);
  load_map<Weight>(map, matrix, p.n);
  wait_for_previous();
  allow_next();

  stage_rows<Weight, T, threads, Norm>(staged, p, norm, scratch);
  float sums[4] = {};
  tile.multiply(staged, p.rows, warp, map, sums);
  put_tile(sums, partial[warp], p.rows);
  __syncthreads();
  for (int i = int(threadIdx.x); i < p.rows * 16; i += threads) {
    const int r = i / 16, column = first + i % 16;
    if (column < wanted) continue;  // another block's
    float total = 0;
#pragma unroll
    for (int w = 0; w < Warps; ++w) total += partial[w][r][i % 16];
    const i64 at = i64(r) * p.n + column;
    if constexpr (Add) total += to_float(static_cast<const T*>(p.residual)[at]);
    static_cast<T*>(p.out)[at] = from_float<T>(total);
  }
}

}  // namespace fpf::kernel
