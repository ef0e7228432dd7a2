// No quantisation: 16- or 32-bit weights, and GGUF's blocks expanded at loading.
#pragma once

#include <ATen/ops/linear.h>

#include <fpf/quant/dense.hpp>
#include <fpf/quant/gguf_rows.hpp>
#include <optional>

namespace fpf::quant {

/// Weights in the activations' dtype; products by libtorch's linear.
struct None {
  static constexpr std::string_view name = "none";
  static constexpr Stated<None, bool> dequantises{true};

  /// A matrix, or where the loader keeps values GGUF's blocks as they stand.
  struct Weight {
    at::Tensor matrix;  // [out, in]
    std::optional<GgufBlocks> blocks;
  };

  static Weight load(const Loader& loader, const LinearSpec& spec) {
    if (loader.keeps_values && loader.device.is_cpu())
      if (auto blocks = GgufBlocks::find(loader.source, spec)) return {{}, std::move(blocks)};
    return {load_dense(loader, spec), {}};
  }
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) {
    return at::linear(x, dequantise(weight, x.scalar_type()));
  }
  static at::Tensor dequantise(const Weight& weight, at::ScalarType dtype) {
    return weight.blocks ? weight.blocks->dequantise(dtype) : weight.matrix.to(dtype);
  }
  static std::size_t bytes(const Weight& weight) {
    return weight.blocks ? weight.blocks->rows.nbytes() : weight.matrix.nbytes();
  }
};

static_assert(QuantScheme<None>);

}  // namespace fpf::quant
