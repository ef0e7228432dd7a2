// RMSNorm of rows in the portable order.
#pragma once

#include "portable_common.cuh"

namespace fpf::kernel {

/// 1 / sqrt(mean of squares + eps) of K values at staged_column() in shared memory, in every thread. sums: [blocks],
/// inverse: [1], shared. Threads >= 32; barriers inside.
template <int K, int Threads>
__device__ __forceinline__ float inverse_rms(const float* staged, float* sums, float* inverse, float eps) {
  constexpr int blocks = (K + block_columns - 1) / block_columns;
  for (int b = int(threadIdx.x); b < blocks; b += Threads) {
    float sum = 0;
    for (int k = b * block_columns; k < min((b + 1) * block_columns, K); ++k)
      sum = portable::fma(staged[staged_column(k)], staged[staged_column(k)], sum);
    sums[b] = sum;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    const float total = sum_of_blocks(sums, blocks, portable::segment_blocks(blocks));
    if (threadIdx.x == 0) *inverse = portable::inverse_root(total, float(K), eps);
  }
  __syncthreads();
  return *inverse;
}

/// Grid: one block of Threads a row.
template <class T, int K, int Threads>
__global__ void __launch_bounds__(Threads) portable_norm(const PortableNorm p) {
  constexpr int blocks = (K + block_columns - 1) / block_columns;
  __shared__ __align__(16) float staged[blocks * block_stride];
  __shared__ float sums[blocks], inverse;
  allow_next();
  wait_for_previous();
  const i64 row = i64(blockIdx.x) * K;
  for (int k = int(threadIdx.x); k < K; k += Threads) staged[staged_column(k)] = p.x[row + k];
  __syncthreads();
  const float factor = inverse_rms<K, Threads>(staged, sums, &inverse, p.eps);
  for (int k = int(threadIdx.x); k < K; k += Threads)
    p.out[row + k] =
        portable::normalised(staged[staged_column(k)], factor, to_float(static_cast<const T*>(p.weight)[k]));
}

}  // namespace fpf::kernel
