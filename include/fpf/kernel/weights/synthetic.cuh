// Synthetic weights made where they are needed: the bytes of weights/synthetic_tensor.hpp, from the same
// arithmetic.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>
#include <fpf/weights/synthetic_values.hpp>

namespace fpf::kernel {

// What one hash (or element) gives, as bytes.

struct SyntheticCodes {
  using Unit = u64;
  __device__ static __forceinline__ Unit make(const SyntheticParams& p, u64 i) {
    return weights::synthetic::codes(weights::synthetic::hash(p.key, i), p.mask, p.addend);
  }
};

/// Two values of T.
template <class T>
struct SyntheticFloats {
  struct Pair {
    T first, second;
  };
  using Unit = Pair;
  __device__ static __forceinline__ Unit make(const SyntheticParams& p, u64 i) {
    const u64 sums = weights::synthetic::byte_sums(weights::synthetic::hash(p.key, i));
    return {from_float<T>(weights::synthetic::value(u32(sums), p.mean, p.step)),
            from_float<T>(weights::synthetic::value(u32(sums >> 32), p.mean, p.step))};
  }
};

struct SyntheticRamp {
  using Unit = i32;
  __device__ static __forceinline__ Unit make(const SyntheticParams& p, u64 i) { return i32(i64(i) / p.divisor); }
};

/// out [bytes], aligned to a unit; the last one may be cut. Grid: any number of blocks.
template <class Made>
__global__ void __launch_bounds__(threads_of::synthetic) make_synthetic(const SyntheticParams p) {
  using Unit = typename Made::Unit;
  const i64 whole = p.bytes / i64(sizeof(Unit)), step = i64(gridDim.x) * threads_of::synthetic;
  i64 i = i64(blockIdx.x) * threads_of::synthetic + threadIdx.x;
  for (; i < whole; i += step) static_cast<Unit*>(p.out)[i] = Made::make(p, u64(i));
  if (i != whole || p.bytes % i64(sizeof(Unit)) == 0) return;
  const Unit last = Made::make(p, u64(i));
  for (i64 at = i * i64(sizeof(Unit)); at < p.bytes; ++at)
    static_cast<u8*>(p.out)[at] = reinterpret_cast<const u8*>(&last)[at % i64(sizeof(Unit))];
}

}  // namespace fpf::kernel
