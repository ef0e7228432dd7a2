// Which kernel carries out which operation: what the manifest says of a phase.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <fpf/model/config.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::model {

/// Operation -> kernel, in the order of a forward pass. fpf's own kernels are named as the manifest's
/// own_kernels are, where their source's hash stands; "libtorch F" is that library's function.
using OperationTable = std::vector<std::pair<std::string, std::string>>;

/// What the decoder's forward pass uses with those policies: on a CPU in prefill and decode, on a GPU in
/// prefill. `grouped`: the experts' products are one launch.
template <class Quant, class Attention, class Execution>
OperationTable forward_operations(const ModelConfig& config, at::Device device, at::ScalarType dtype,
                                  bool grouped) {
  const bool gpu = device.is_cuda(), fused = Execution::name != "eager" && !gpu;
  const auto chain = [&](std::string_view own, std::string_view kernel, std::string_view separate) {
    return std::string(fused ? own : gpu ? kernel : separate);
  };
  const std::string library = gpu ? "libtorch linear (cuBLAS)" : "libtorch linear";
  const auto product = [&](const std::string& by) {  // of matrices that may be quantised
    if (Quant::name == "none") return by;
    return fmt::format("{} dequantised to {}, {}", Quant::name, c10::toString(dtype), by);
  };
  std::string attention(Attention::name);
  if constexpr (requires { Attention::kernel(device, dtype); }) attention = Attention::kernel(device, dtype);
  const std::string norm = chain("fpf fused_add_norm", "rms_norm", "libtorch add, pow, mean, rsqrt, mul");
  OperationTable out = {{"embedding", "libtorch embedding"},
                        {"norm", norm},
                        {"qkv", product(library)},
                        {"head_norm_rope", chain("fpf fused_head_norm_rope", "rope_append",
                                                 "libtorch norm as above; cat, mul, add")},
                        {"attention", attention},
                        {"attention_output", product(library)}};
  const std::string silu = chain("fpf fused_silu_mul", "silu_mul", "libtorch silu, mul");
  if (config.is_moe()) {
    out.emplace_back("router_logits", library);
    out.emplace_back("route", chain("fpf fused_route", "route", "libtorch softmax, fpf top_k, libtorch div"));
    const std::string experts =
        gpu ? fmt::format("libtorch {}", grouped ? "_grouped_mm" : "mm, expert by expert")
            : library + ", expert by expert";
    out.emplace_back("experts", product(experts));
    out.emplace_back("silu_mul", silu);
    out.emplace_back("experts_sum", gpu ? "libtorch mul, add in the order of the experts"
                                        : "libtorch index_add in the order of the experts");
  } else {
    out.emplace_back("mlp", product(library));
    out.emplace_back("silu_mul", silu);
  }
  out.emplace_back("head", library);
  out.emplace_back("log_probs", "libtorch log_softmax in float32, fpf top_k");
  return out;
}

}  // namespace fpf::model
