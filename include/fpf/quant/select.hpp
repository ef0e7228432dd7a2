// From a checkpoint's quantization_config to the policy that reads it.
#pragma once

#include <fpf/policies.hpp>
#include <fpf/quant/quant_config.hpp>

namespace fpf::quant {

/// Calls f.template operator()<Policy>() for the policy of a quantization_config (null: none). Throws Error
/// for a quant_method that fpf does not read.
template <class F>
decltype(auto) select(const nlohmann::json& quantization_config, F f) {
  if (quantization_config.is_null()) return f.template operator()<None>();
  switch (method_of(quantization_config)) {
    case Method::awq:
      return f.template operator()<Awq>();
    case Method::gptq:
      return f.template operator()<Gptq>();
    case Method::bitsandbytes:
      break;
  }
  return f.template operator()<Nf4>();
}

}  // namespace fpf::quant
