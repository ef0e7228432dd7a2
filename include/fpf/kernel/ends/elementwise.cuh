// Element-wise operations as a framework runs them: one launch each, every result rounded to T.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

struct Add {
  template <class T>
  __device__ static __forceinline__ float apply(float a, float b) {
    return a + b;
  }
};

/// silu(a) * b, silu's result rounded to T first.
struct SiluMul {
  template <class T>
  __device__ static __forceinline__ float apply(float a, float b) {
    return rounded<T>(a / (1.0f + expf(-a))) * b;
  }
};

/// Grid: a vector of per_vector<T> a thread; count a multiple of per_vector<T>.
template <class Operation, class T>
__global__ void __launch_bounds__(threads_of::elementwise) elementwise(const ElementwiseParams p) {
  constexpr int width = per_vector<T>;
  allow_next();
  wait_for_previous();
  const i64 vector = i64(blockIdx.x) * threads_of::elementwise + threadIdx.x;
  if (vector * width >= p.count) return;
  float a[width], b[width];
  widen<T>(static_cast<const uint4*>(p.a)[vector], a);
  widen<T>(static_cast<const uint4*>(p.b)[vector], b);
#pragma unroll
  for (int i = 0; i < width; ++i) a[i] = Operation::template apply<T>(a[i], b[i]);
  static_cast<uint4*>(p.out)[vector] = narrow<T>(a);
}

}  // namespace fpf::kernel
