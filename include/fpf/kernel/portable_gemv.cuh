// Products of packed weights with a few rows, in the portable order: a thread takes a block of 32 columns of several output
// rows, one chain each; the blocks' sums are added up as PORTABLE.md says.
#pragma once

#include "portable_common.cuh"

namespace fpf::kernel {

/// What a block of threads needs in shared memory: x (one row), sums, an NF4 map.
template <class Weight, int Outputs>
struct PortableStage {
  float x[blocks_in<Weight> * block_stride];
  float sums[Outputs][blocks_in<Weight> + 1];
  float map[16];
};

template <class Weight>
__device__ __forceinline__ void stage_row_portable(float* staged, const float* x, const u8* matrix, i64 n, int thread,
                                                   int threads) {
  for (int k = thread; k < Weight::K; k += threads) staged[staged_column(stored_column<Weight>(matrix, n, k))] = x[k];
}

/// The chain of block b. x stands in shared memory.
template <class Weight>
__device__ __forceinline__ float chain(const float* staged, const float (&w)[32], int b) {
  const float* x = staged + b * block_stride;
  const int columns = columns_in<Weight>(b);
  float sum = 0;
#pragma unroll
  for (int k = 0; k < 32; k += 4) {
    const float4 four = *reinterpret_cast<const float4*>(x + k);
    const float values[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (Weight::K % 32 == 0 || k + i < columns) sum = portable::fma(values[i], w[k + i], sum);
  }
  return sum;
}

/// Grid: ceil(n / (Groups * PerThread)) blocks of Lanes * Groups threads; Lanes >= the blocks of K, a multiple of 32.
template <class Weight, class T, int Lanes, int Groups, int PerThread, bool Add>
__global__ void __launch_bounds__(Lanes* Groups) portable_gemv(const PortableProduct p) {
  constexpr int outputs = Groups * PerThread, threads = Lanes * Groups, blocks = blocks_in<Weight>;
  __shared__ __align__(16) PortableStage<Weight, outputs> s;
  const u8* matrix = static_cast<const u8*>(p.matrix);
  const int b = int(threadIdx.x % Lanes), group = int(threadIdx.x / Lanes);
  const int first = int(blockIdx.x) * outputs;
  Block<Weight> held[PerThread];
#pragma unroll
  for (int i = 0; i < PerThread; ++i)
    if (b < blocks) held[i].load(matrix, p.n, min(first + group * PerThread + i, p.n - 1), b);
  load_code_map<Weight>(s.map, matrix, p.n);
  allow_next();
  wait_for_previous();
  for (int r = 0; r < p.rows; ++r) {
    stage_row_portable<Weight>(s.x, p.x + i64(r) * Weight::K, matrix, p.n, int(threadIdx.x), threads);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < PerThread; ++i) {
      if (b >= blocks) continue;
      float w[32];
      held[i].values(b, s.map, w);
      s.sums[group * PerThread + i][b] = chain<Weight>(s.x, w, b);
    }
    __syncthreads();
    constexpr int finishing = (outputs * 8 + 31) / 32 * 32;
    for (int t = int(threadIdx.x); t < finishing; t += threads) {
      const int output = min(t / 8, outputs - 1), column = first + output;
      float total = sum_of_blocks(s.sums[output], blocks, portable::segment_blocks(blocks));
      if (t % 8 != 0 || t / 8 >= outputs || column >= p.n) continue;
      const i64 at = i64(r) * p.n + column;
      if constexpr (Add) {
        total = add(p.out[at], total);
        if (p.tap != nullptr) static_cast<T*>(p.tap)[at] = from_float<T>(total);
      }
      p.out[at] = total;
    }
  }
}

}  // namespace fpf::kernel
