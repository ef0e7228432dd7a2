// Rows of activations in any float type, computed on in float32: what the fused chains stand on.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

namespace fpf::execution {

/// Calls f.template operator()<T>() with the element type of float32, bfloat16 or float16 tensors.
template <class F>
void with_element_type(at::ScalarType type, F f) {
  switch (type) {
    case at::kFloat:
      return f.template operator()<float>();
    case at::kBFloat16:
      return f.template operator()<at::BFloat16>();
    case at::kHalf:
      return f.template operator()<at::Half>();
    default:
      throw std::logic_error("activations must be float32, bfloat16 or float16");
  }
}

/// Exact.
template <class T>
void widen(const T* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
}

/// The one rounding of a chain, to nearest even.
template <class T>
void narrow(const float* from, T* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(from[i]);
}

/// Runs body(begin, end) over `rows` rows of `width` elements each, in parallel when there is enough work.
/// Rows do not see each other, so the result does not depend on the thread count.
template <class Body>
void for_rows(std::int64_t rows, std::int64_t width, Body body) {
  constexpr std::int64_t elements_a_task = 16384;
  at::parallel_for(0, rows, std::max<std::int64_t>(1, elements_a_task / std::max<std::int64_t>(width, 1)), body);
}

/// Sum of squares in float32 with a fixed order: 16 running sums, element i in sum i mod 16, added pairwise
/// at the end.
inline float sum_of_squares(std::span<const float> x) {
  constexpr std::size_t lanes = 16;
  float sums[lanes] = {};
  const std::size_t whole = x.size() / lanes * lanes;
  for (std::size_t at = 0; at < whole; at += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] += x[at + lane] * x[at + lane];
  for (std::size_t at = whole; at < x.size(); ++at) sums[at - whole] += x[at] * x[at];
  for (std::size_t half = lanes / 2; half != 0; half /= 2)
    for (std::size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

}  // namespace fpf::execution
