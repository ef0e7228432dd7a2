// RMSNorm in the portable order, of rows by themselves and on a row's way to a product.
#pragma once

#include <fpf/kernel/portable/common.cuh>

namespace fpf::kernel {

/// 1 / sqrt(mean of squares + eps) of K values at staged_column() in shared memory, in every thread of a block. sums:
/// [blocks of K] in shared memory; a barrier is inside, after which `staged` is not read.
template <int K, int Threads>
__device__ __forceinline__ float inverse_rms(const float* staged, float* sums, float eps) {
  constexpr int blocks = portable::blocks_of(K);
  for (int b = int(threadIdx.x); b < blocks; b += Threads) {
    float x[32];
    load_block(staged, b, x);
    sums[b] = chain(x, x, K % block_columns == 0 ? 32 : min(32, K - b * block_columns));
  }
  __syncthreads();
  const float total = __shfl_sync(0xffffffffu, sum_of_blocks<blocks>(sums), 0, 8);
  return portable::inverse_root(total, float(K), eps);
}

/// A thread's part of a row of K: every Threads-th four values.
template <int K, int Threads>
struct RowPart {
  static_assert(K % 4 == 0, "rows of a multiple of 4");
  static constexpr int each = (K / 4 + Threads - 1) / Threads;
  float4 values[each];

  /// Calls f(column of the first of four, the four) for all of the thread's own.
  template <class F>
  __device__ __forceinline__ void for_each(F f) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int vector = i * Threads + int(threadIdx.x);
      if (K / 4 % Threads == 0 || vector < K / 4) f(vector * 4, values[i]);
    }
  }
  template <class T>
  __device__ __forceinline__ void load(const T* row) {
    for_each([&](int k, float4& own) { own = four(row + k); });
  }

  /// The row, whose parts the block's threads hold, becomes its RMSNorm. staged: room for the row at staged_column(),
  /// sums: for its blocks, both shared. A barrier must have come since they were last read.
  __device__ __forceinline__ void normalise(const RowPart& weight, float* staged, float* sums, float eps) {
    for_each([&](int k, const float4& own) { *reinterpret_cast<float4*>(staged + staged_column(k)) = own; });
    __syncthreads();
    const float inverse = inverse_rms<K, Threads>(staged, sums, eps);
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const float4 x = values[i], w = weight.values[i];
      values[i] = make_float4(portable::normalised(x.x, inverse, w.x), portable::normalised(x.y, inverse, w.y),
                              portable::normalised(x.z, inverse, w.z), portable::normalised(x.w, inverse, w.w));
    }
  }
};

/// Grid: one block of Threads a row.
template <class T, int K, int Threads>
__global__ void __launch_bounds__(Threads) portable_norm(const PortableNorm p) {
  constexpr int blocks = portable::blocks_of(K);
  __shared__ __align__(16) float staged[blocks * block_stride];
  __shared__ float sums[blocks];
  RowPart<K, Threads> x, weight;
  weight.load(static_cast<const T*>(p.weight));
  allow_next();
  wait_for_previous();
  const i64 row = i64(blockIdx.x) * K;
  x.load(p.x + row);
  x.normalise(weight, staged, sums, p.eps);
  x.for_each([&](int k, const float4& own) { *reinterpret_cast<float4*>(p.out + row + k) = own; });
}

}  // namespace fpf::kernel
