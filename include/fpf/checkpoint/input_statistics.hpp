// What calibration remembers of a linear layer's inputs.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include <cstdint>

namespace fpf::checkpoint {

/// Of the rows x that a layer with `in` inputs was given.
struct InputStatistics {
  at::Tensor gram;  // [in, in] float32: the mean of x xᵀ; undefined when unknown
  std::int64_t rows = 0;

  bool known() const { return gram.defined(); }

  /// x [..., in]. Fewer than 64 rows say too little of a layer's inputs, and are taken for none.
  static InputStatistics of(const at::Tensor& x) {
    constexpr std::int64_t enough = 64;
    const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(at::kFloat);
    if (rows.size(0) < enough) return {};
    return {at::matmul(rows.t(), rows) / static_cast<double>(rows.size(0)), rows.size(0)};
  }
};

}  // namespace fpf::checkpoint
