// How a checkpoint has the matrices of a product, and what loading made of them: what the manifest says of it.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cstddef>
#include <fpf/quant/scheme.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::model {

/// Of the layers of one stack, or of all experts of a layer.
struct StoredForm {
  std::size_t dense = 0, quantised = 0;  // how many
  bool made_dense = false;               // the quantised ones were dequantised at loading
  std::string_view format{};             // the policy that did, where that is not the model's own matter (routers)
  bool biased = false;                   // a bias is added to their products

  StoredForm& operator+=(const StoredForm& other) {
    dense += other.dense;
    quantised += other.quantised;
    made_dense = made_dense || other.made_dense;
    biased = biased || other.biased;
    if (!other.format.empty()) format = other.format;
    return *this;
  }
};

/// Of a whole model, layer by layer.
struct StoredForms {
  std::vector<StoredForm> qkv, attention_output, router, mlp;
  StoredForm head;

  template <class Layer>
  void add(const Layer& layer) {
    qkv.push_back(layer.qkv.form());
    attention_output.push_back(layer.o.form());
    router.push_back(layer.router_form);
    mlp.push_back(layer.mlp_form());
  }
};

/// What carries out the products of layers in that form under a policy, where dense ones are carried out by `by`.
inline std::string product_text(const quant::Scheme& scheme, const StoredForm& form, at::ScalarType dtype,
                                const std::string& by) {
  if (form.quantised == 0) return by;
  const std::string partly = form.dense > 0 ? "partly " : "";
  const std::string_view format = form.format.empty() ? scheme.name : form.format;
  if (!scheme.dequantises && form.format.empty()) return fmt::format("{}quantisation '{}'", partly, format);
  return fmt::format("{}{} dequantised to {}{}, {}", partly, format, c10::toString(dtype),
                     form.made_dense ? " at loading" : "", by);
}

}  // namespace fpf::model
