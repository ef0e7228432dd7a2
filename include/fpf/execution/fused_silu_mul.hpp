// The gate of a gated MLP in one pass.
#pragma once

#include <ATen/ops/empty.h>

#include <cmath>
#include <fpf/execution/elements.hpp>

namespace fpf::execution {

/// gate and up, of one shape -> gate / (1 + exp(-gate)) * up, in float32 and rounded once.
inline at::Tensor fused_silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  const at::Tensor gates = gate.contiguous(), ups = up.contiguous();
  at::Tensor out = at::empty(gates.sizes(), gates.options());
  with_element_type(gates.scalar_type(), [&]<class T>() {
    const T* const g = gates.const_data_ptr<T>();
    const T* const u = ups.const_data_ptr<T>();
    T* const to = out.data_ptr<T>();
    for_rows(gates.numel(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto x = static_cast<float>(g[i]);
        to[i] = static_cast<T>(x / (1.0f + std::exp(-x)) * static_cast<float>(u[i]));
      }
    });
  });
  return out;
}

}  // namespace fpf::execution
