// The quantisation policies that fpf brings: the one list of them.
#pragma once

#include <fpf/quant/awq.hpp>
#include <fpf/quant/gptq.hpp>
#include <fpf/quant/nf4.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/quant/quant_config.hpp>
#include <fpf/quant/scheme.hpp>

namespace fpf::quant {

/// Calls f.template operator()<Policy>() for the policy of a quantization_config (null: none). Throws Error for a
/// quant_method that fpf does not read.
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

/// The same as a value.
inline const Scheme& scheme_of(const nlohmann::json& quantization_config) {
  return select(quantization_config, []<class Q>() -> const Scheme& { return scheme<Q>(); });
}

/// Calls f(weight) with the weight of a layer that is of one of them. Throws Error, naming `what`, for another
/// policy's.
template <class F>
decltype(auto) visit(const LoadedLinear& layer, F f) {
  if (const auto* weight = weight_if<Awq>(layer)) return f(*weight);
  if (const auto* weight = weight_if<Gptq>(layer)) return f(*weight);
  if (const auto* weight = weight_if<Nf4>(layer)) return f(*weight);
  if (const auto* weight = weight_if<None>(layer)) return f(*weight);
  fail("a layer of a quantisation of one's own: portable execution has no form for it");
}

}  // namespace fpf::quant
