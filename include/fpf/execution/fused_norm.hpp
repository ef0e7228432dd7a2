// RMSNorm, alone and with the residual's addition, in one pass over each row.
#pragma once

#include <ATen/ops/empty.h>

#include <cmath>
#include <fpf/execution/elements.hpp>

namespace fpf::execution {

namespace detail {
/// x <- x / sqrt(mean(x^2) + eps) * weight
inline void normalise(std::span<float> x, const float* weight, float eps) {
  const float mean = sum_of_squares(x) / static_cast<float>(x.size());
  const float inverse = 1.0f / std::sqrt(mean + eps);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] * inverse * weight[i];
}
}  // namespace detail

/// x [..., n], weight [n] -> [..., n] contiguous: RMSNorm in float32, rounded once to x's dtype.
inline at::Tensor fused_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor in = x.contiguous();
  const std::int64_t n = in.size(-1), rows = in.numel() / n;
  at::Tensor out = at::empty(in.sizes(), in.options());
  with_element_type(in.scalar_type(), [&]<class T>() {
    const T* const from = in.const_data_ptr<T>();
    T* const to = out.data_ptr<T>();
    std::vector<float> wide_weight(static_cast<std::size_t>(n));
    widen(weight.const_data_ptr<T>(), wide_weight.data(), n);
    for_rows(rows, n, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(n));
      for (std::int64_t r = begin; r < end; ++r) {
        widen(from + r * n, row.data(), n);
        detail::normalise(row, wide_weight.data(), static_cast<float>(eps));
        narrow(row.data(), to + r * n, n);
      }
    });
  });
  return out;
}

/// residual [..., n] += delta, in place, and the RMSNorm of the sum as it stood before it was rounded into
/// residual.
inline at::Tensor fused_add_norm(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) {
  if (!residual.is_contiguous()) throw std::logic_error("the residual stream must be contiguous");
  const at::Tensor added = delta.contiguous();
  const std::int64_t n = residual.size(-1), rows = residual.numel() / n;
  at::Tensor out = at::empty(residual.sizes(), residual.options());
  with_element_type(residual.scalar_type(), [&]<class T>() {
    T* const stream = residual.data_ptr<T>();
    const T* const from = added.const_data_ptr<T>();
    T* const to = out.data_ptr<T>();
    std::vector<float> wide_weight(static_cast<std::size_t>(n));
    widen(weight.const_data_ptr<T>(), wide_weight.data(), n);
    for_rows(rows, n, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(n));
      for (std::int64_t at = begin * n; at < end * n; at += n) {
        for (std::int64_t i = 0; i < n; ++i)
          row[static_cast<std::size_t>(i)] = static_cast<float>(stream[at + i]) + static_cast<float>(from[at + i]);
        narrow(row.data(), stream + at, n);
        detail::normalise(row, wide_weight.data(), static_cast<float>(eps));
        narrow(row.data(), to + at, n);
      }
    });
  });
  return out;
}

}  // namespace fpf::execution
