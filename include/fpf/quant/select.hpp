// From a checkpoint's quantization_config to the policy that reads it.
#pragma once

#include <fpf/quant/none.hpp>

#include <nlohmann/json.hpp>
#include <string>

namespace fpf::quant {

/// Calls f.template operator()<Policy>() for the policy of a quantization_config (null: none). Throws Error for a
/// quant_method that fpf does not read.
template <class F>
decltype(auto) select(const nlohmann::json& quantization_config, F f) {
  if (quantization_config.is_null()) return f.template operator()<None>();
  const std::string method = quantization_config.value("quant_method", "");
  fail("quantization_config says quant_method '{}': expected no quantization_config", method);
}

}  // namespace fpf::quant
