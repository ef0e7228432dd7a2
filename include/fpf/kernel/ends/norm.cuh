// RMSNorm over rows, with the residual's addition before it where there is one. Any number of rows.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// Grid: one block of Threads per row. Round: the sum, the normalised value and its product with the weight
/// are each rounded to T, as separate operations are; else only what is stored is.
template <class T, int K, int Threads, bool Round>
__global__ void __launch_bounds__(Threads) rms_norm(const NormParams p) {
  constexpr int width = per_vector<T>, vectors = K / width, count = (vectors + Threads - 1) / Threads;
  static_assert(K % width == 0, "a row must be a multiple of 16 bytes");
  __shared__ float scratch[Threads / 32];
  const i64 row = i64(blockIdx.x) * vectors;
  uint4 weight[count];
#pragma unroll
  for (int v = 0; v < count; ++v) {
    const int vector = v * Threads + int(threadIdx.x);
    if (vector < vectors) weight[v] = load_stream(static_cast<const uint4*>(p.weight) + vector);
  }
  allow_next();
  wait_for_previous();

  float values[count][width], squares = 0;
#pragma unroll
  for (int v = 0; v < count; ++v) {
    const int vector = v * Threads + int(threadIdx.x);
    if (vector >= vectors) continue;
    widen<T>(static_cast<const uint4*>(p.x)[row + vector], values[v]);
    if (p.delta != nullptr) {
      float delta[width];
      widen<T>(static_cast<const uint4*>(p.delta)[row + vector], delta);
#pragma unroll
      for (int i = 0; i < width; ++i) values[v][i] += delta[i];
      const uint4 sum = narrow<T>(values[v]);
      static_cast<uint4*>(p.sum)[row + vector] = sum;
      if constexpr (Round) widen<T>(sum, values[v]);
    }
#pragma unroll
    for (int i = 0; i < width; ++i) squares = fmaf(values[v][i], values[v][i], squares);
  }
  const float inverse = rsqrtf(block_sum<Threads>(squares, scratch) * (1.0f / float(K)) + p.eps);
#pragma unroll
  for (int v = 0; v < count; ++v) {
    const int vector = v * Threads + int(threadIdx.x);
    if (vector >= vectors) continue;
    float scale[width];
    widen<T>(weight[v], scale);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float normal = values[v][i] * inverse;
      values[v][i] = (Round ? rounded<T>(normal) : normal) * scale[i];
    }
    static_cast<uint4*>(p.out)[row + vector] = narrow<T>(values[v]);
  }
}

}  // namespace fpf::kernel
