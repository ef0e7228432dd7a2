// Which kernel carries out which operation: what the manifest says of a phase.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <fpf/model/config.hpp>
#include <fpf/model/numerics.hpp>
#include <fpf/model/stored_form.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::model {

/// Operation -> kernel, in the order of a forward pass. fpf's own kernels are named as the manifest's
/// own_kernels are, where their source's hash stands; "libtorch F" is that library's function.
using OperationTable = std::vector<std::pair<std::string, std::string>>;

/// What the decoder's forward pass uses with those policies: on a CPU in prefill and decode, on a GPU in
/// prefill. `forms`: of the weights, by layer. `grouped`: the experts' products are one launch.
inline OperationTable forward_operations(const Numerics& of, const ModelConfig& config, const StoredForms& forms,
                                         at::Device device, at::ScalarType dtype, bool grouped) {
  const bool gpu = device.is_cuda();
  const auto word = [&](std::string_view execution::Kernels::*policys, std::string_view kernel) {
    if (gpu) return std::string(kernel);
    if (of.execution.kernels) return std::string((*of.execution.kernels).*policys);
    return fmt::format("execution '{}'", of.execution.name);
  };
  using Words = execution::Kernels;
  const std::string library = gpu ? "libtorch linear (cuBLAS)" : "libtorch linear";
  const auto product = [&](const std::vector<StoredForm>& layers, const std::string& by) {
    return product_text(of.quantisation, layers, dtype, by);
  };
  const std::string attention(of.attention.kernel == nullptr ? of.attention.name : of.attention.kernel(device, dtype));
  const std::string norm = word(&Words::norm, "rms_norm");
  OperationTable out = {{"embedding", "libtorch embedding"},
                        {"norm", norm},
                        {"qkv", product(forms.qkv, library)},
                        {"head_norm_rope", word(&Words::head_norm_rope, "rope_append")},
                        {"attention", attention},
                        {"attention_output", product(forms.attention_output, library)}};
  const std::string silu = word(&Words::silu_mul, "silu_mul");
  if (config.is_moe()) {
    out.emplace_back("router_logits", product(forms.router, library));
    out.emplace_back("route", word(&Words::route, "route"));
    const std::string experts = gpu ? fmt::format("libtorch {}", grouped ? "_grouped_mm" : "mm, expert by expert")
                                    : library + ", expert by expert";
    out.emplace_back("experts", product(forms.mlp, experts));
    out.emplace_back("silu_mul", silu);
    out.emplace_back("experts_sum", gpu ? "libtorch mul, add in the order of the experts"
                                        : "libtorch index_add in the order of the experts");
  } else {
    out.emplace_back("mlp", product(forms.mlp, library));
    out.emplace_back("silu_mul", silu);
  }
  out.emplace_back("head", product({forms.head}, library));
  out.emplace_back("log_probs", "libtorch log_softmax in float32, fpf top_k");
  return out;
}

}  // namespace fpf::model
