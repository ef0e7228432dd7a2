// The families that fpf runs: the one list.
#pragma once

#include <array>
#include <fpf/core/error.hpp>
#include <fpf/model/architectures/llama.hpp>
#include <fpf/model/architectures/qwen2.hpp>
#include <fpf/model/architectures/qwen3.hpp>
#include <fpf/model/architectures/qwen3_moe.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::model {

namespace architectures {

inline constexpr std::array<const Architecture*, 4> all{&llama, &qwen2, &qwen3, &qwen3_moe};

}  // namespace architectures

namespace detail {

inline const Architecture& find_architecture(std::string_view name, std::string_view Architecture::*key,
                                             const std::string& file) {
  std::vector<std::string_view> known;
  for (const Architecture* one : architectures::all) {
    if ((one->*key).empty()) continue;
    if (one->*key == name) return *one;
    known.push_back(one->*key);
  }
  const std::string_view last = known.back();
  known.pop_back();
  fail("{} has architecture '{}': expected {} or {}", file, name, fmt::join(known, ", "), last);
}

}  // namespace detail

/// The architecture that a config.json names. Throws Error, naming `file` and those that are known.
inline const Architecture& architecture_of(std::string_view name, const std::string& file) {
  return detail::find_architecture(name, &Architecture::name, file);
}
inline const Architecture& architecture_of(const ModelConfig& config) {
  return architecture_of(config.architecture, "the model");
}

/// The same by GGUF's name.
inline const Architecture& architecture_of_gguf(std::string_view name, const std::string& file) {
  return detail::find_architecture(name, &Architecture::gguf, file);
}

}  // namespace fpf::model
