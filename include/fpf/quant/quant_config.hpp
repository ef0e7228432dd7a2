// config.json's quantization_config: which of the 4-bit formats, with what parameters.
#pragma once

#include <array>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::quant {

enum class Method : std::uint8_t { awq, gptq, bitsandbytes };

constexpr std::string_view name_of(Method method) {
  constexpr std::array<std::string_view, 3> names{"awq", "gptq", "bitsandbytes"};
  return names[static_cast<std::size_t>(method)];
}

struct QuantisationConfig {
  Method method = Method::awq;
  std::int64_t group_size = -1;    // inputs that share a scale; -1: all of a column (awq, gptq)
  bool zero_point = true;          // awq: there are qzeros
  bool zeros_are_one_less = true;  // gptq: checkpoint_format "gptq" (v1), not "gptq_v2"
  std::optional<bool> symmetric;   // gptq: sym, where it is said
  std::optional<bool> desc_act;    // gptq: where it is said
};

namespace detail {

/// Throws Error for what is no object.
inline JsonObject quantisation_object(const nlohmann::json& json) {
  if (!json.is_object()) fail("quantization_config is {}: expected an object", json.dump());
  return {json, "quantization_config"};
}

inline void read_awq(const JsonObject& in, QuantisationConfig& out) {
  in.require<std::int64_t>("bits", {4});
  in.require<std::int64_t>("w_bit", {4});
  in.require<std::string>("version", {"gemm", "GEMM"});
  out.group_size = in.get_or<std::int64_t>("group_size", in.get_or<std::int64_t>("q_group_size", 128));
  out.zero_point = in.get_or("zero_point", true);
}

inline void read_gptq(const JsonObject& in, QuantisationConfig& out) {
  in.require<std::int64_t>("bits", {4});
  in.require<std::string>("pack_dtype", {"int32"});
  in.require<std::string>("checkpoint_format", {"gptq", "gptq_v2"});
  in.require<bool>("is_marlin_format", {false});
  out.group_size = in.get_or<std::int64_t>("group_size", 128);
  // GPTQModel writes both names and takes 'format', others know 'checkpoint_format' alone.
  in.require<std::string>("format", {"gptq", "gptq_v2"});
  const auto format = in.get_or<std::string>("format", in.get_or<std::string>("checkpoint_format", "gptq"));
  if (in.has("checkpoint_format") && in.get<std::string>("checkpoint_format") != format)
    fail("'format' in quantization_config is '{}' and 'checkpoint_format' is '{}': expected one format", format,
         in.get<std::string>("checkpoint_format"));
  out.zeros_are_one_less = format == "gptq";
  if (in.has("sym")) out.symmetric = in.get<bool>("sym");
  if (in.has("desc_act")) out.desc_act = in.get<bool>("desc_act");
  const auto dynamic = in.get_or("dynamic", nlohmann::json::object());
  for (const auto& entry : dynamic.items())
    if (!entry.key().starts_with("-:"))
      fail(
          "'dynamic' in quantization_config gives '{}' parameters of its own: only '-:' entries are "
          "supported",
          entry.key());
}

inline void read_bitsandbytes(const JsonObject& in, QuantisationConfig& out) {
  in.require<bool>("load_in_8bit", {false});
  in.require<bool>("load_in_4bit", {true});
  in.require<std::string>("bnb_4bit_quant_type", {"nf4"});
  in.require<std::string>("bnb_4bit_quant_storage", {"uint8", "int8", "float16", "bfloat16", "float32"});
  out.group_size = 64;
}

}  // namespace detail

/// The method a quantization_config names. Throws Error for one that fpf does not read.
inline Method method_of(const nlohmann::json& quantization_config) {
  const auto name = detail::quantisation_object(quantization_config).get_or<std::string>("quant_method", "");
  for (const auto method : {Method::awq, Method::gptq, Method::bitsandbytes})
    if (name_of(method) == name) return method;
  fail("quantization_config has quant_method '{}': expected awq, gptq or bitsandbytes", name);
}

/// Reads a quantization_config that must be of the given method. Throws Error, naming both, when it is of
/// another (or there is none), and naming the key for bits, versions and variants that fpf does not read.
inline QuantisationConfig read_quantisation(const nlohmann::json& json, Method expected) {
  if (json.is_null()) fail("the checkpoint has no quantization_config: expected quant_method '{}'", name_of(expected));
  QuantisationConfig out;
  out.method = method_of(json);
  if (out.method != expected)
    fail("the checkpoint's quant_method is '{}': expected '{}'", name_of(out.method), name_of(expected));
  const JsonObject in = detail::quantisation_object(json);
  switch (out.method) {
    case Method::awq:
      detail::read_awq(in, out);
      break;
    case Method::gptq:
      detail::read_gptq(in, out);
      break;
    case Method::bitsandbytes:
      detail::read_bitsandbytes(in, out);
      break;
  }
  if (out.group_size != -1 && out.group_size < 1)
    fail("'group_size' in quantization_config is {}: expected a positive number, or -1", out.group_size);
  return out;
}

}  // namespace fpf::quant
