// No quantisation: 16- or 32-bit weights, and GGUF's blocks expanded at loading.
#pragma once

#include <ATen/ops/linear.h>

#include <fpf/quant/dense.hpp>

namespace fpf::quant {

/// Weights in the activations' dtype; products by libtorch's linear.
struct None {
  static constexpr std::string_view name = "none";
  static constexpr Stated<None, bool> dequantises{true};

  struct Weight {
    at::Tensor matrix;  // [out, in]
  };

  static Weight load(const Loader& loader, const LinearSpec& spec) { return {load_dense(loader, spec)}; }
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) { return at::linear(x, weight.matrix); }
  static at::Tensor dequantise(const Weight& weight, at::ScalarType dtype) { return weight.matrix.to(dtype); }
  static std::size_t bytes(const Weight& weight) { return weight.matrix.nbytes(); }
};

static_assert(QuantScheme<None>);

}  // namespace fpf::quant
