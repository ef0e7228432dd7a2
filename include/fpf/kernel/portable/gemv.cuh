// Products of packed weights with a few rows, in the portable order: a thread takes a block of 32 columns of several
// output rows, one chain each; the blocks' sums are added up as PORTABLE.md says.
#pragma once

#include <fpf/kernel/portable/norm.cuh>

namespace fpf::kernel {

/// Dynamic shared memory of a block of threads: x (one row), sums, an NF4 map.
template <class Weight, int Outputs>
struct PortableStage {
  float x[blocks_in<Weight> * block_stride];
  float sums[Outputs][blocks_in<Weight> + 1];
  float map[16];
};

/// The row goes where `matrix` has its columns.
template <class Weight, int Threads>
__device__ __forceinline__ void stage_row(float* staged, RowPart<Weight::K, Threads>& row, const u8* matrix, i64 n) {
  row.for_each([&](int k, const float4& four) { stage_four<Weight>(staged, k, four, matrix, n); });
}

/// Grid: blocks of Lanes * Groups threads, each of which takes every gridDim-th tile of Groups * PerThread outputs;
/// Lanes >= the blocks of K, a multiple of 32. Norm: of x's RMSNorm, which the first block also leaves in p.normed.
/// Add: see PortableProduct.
template <class Weight, class T, int Lanes, int Groups, int PerThread, bool Norm, int Add>
__global__ void __launch_bounds__(Lanes* Groups) portable_gemv(const PortableProduct p) {
  constexpr int outputs = Groups * PerThread, threads = Lanes * Groups, blocks = blocks_in<Weight>;
  extern __shared__ __align__(16) u8 dynamic[];
  using Stage = PortableStage<Weight, outputs>;
  static_assert(sizeof(Stage) == portable_stage_bytes(Weight::K, outputs), "the plan asks for the stage's size");
  auto& s = *reinterpret_cast<Stage*>(dynamic);
  const u8* matrix = static_cast<const u8*>(p.matrix);
  const int b = int(threadIdx.x % Lanes), group = int(threadIdx.x / Lanes), own = min(b, blocks - 1);
  Block<Weight> held[PerThread];
  const auto fetch = [&](int tile) {
#pragma unroll
    for (int i = 0; i < PerThread; ++i)
      held[i].load(matrix, p.n, min(tile * outputs + group * PerThread + i, p.n - 1), own);
  };
  fetch(int(blockIdx.x));
  RowPart<Weight::K, threads> norm;
  if constexpr (Norm) norm.load(static_cast<const T*>(p.norm));
  load_map<Weight>(s.map, matrix, p.n);
  allow_next();
  wait_for_previous();
  float x[32];
  for (int tile = int(blockIdx.x); tile * outputs < p.n; tile += int(gridDim.x)) {
    const bool first = tile == int(blockIdx.x);
    if (!first) fetch(tile);
    for (int r = 0; r < p.rows; ++r) {
      __syncthreads();  // the sums of before are read
      if (first || p.rows > 1) {
        RowPart<Weight::K, threads> row;
        row.load(p.x + i64(r) * Weight::K);
        if constexpr (Norm) {
          row.normalise(norm, s.x, s.sums[0], p.eps);
          if (p.normed != nullptr && first && blockIdx.x == 0)
            row.for_each([&](int k, const float4& four) {
              *reinterpret_cast<float4*>(p.normed + i64(r) * Weight::K + k) = four;
            });
          if constexpr (Weight::permuted) __syncthreads();
        }
        stage_row<Weight>(s.x, row, matrix, p.n);
        __syncthreads();
        load_block(s.x, own, x);
      }
#pragma unroll
      for (int i = 0; i < PerThread; ++i) {
        float w[32];
        held[i].values(own, s.map, w);
        const float sum = chain(x, w, columns_in<Weight>(own));
        if (b < blocks) s.sums[group * PerThread + i][b] = sum;
      }
      __syncthreads();
      constexpr int finishing = (outputs * 8 + 31) / 32 * 32;
      for (int t = int(threadIdx.x); t < finishing; t += threads) {
        const int output = min(t / 8, outputs - 1), column = tile * outputs + output;
        float total = sum_of_blocks<blocks>(s.sums[output]);
        if (t % 8 != 0 || t / 8 >= outputs || column >= p.n) continue;
        const i64 at = i64(r) * p.n + column;
        p.out[at] = Add == 0 ? total : add(Add == 2 ? p.bias[column] : p.out[at], total);
      }
    }
  }
}

}  // namespace fpf::kernel
