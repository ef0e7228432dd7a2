// The architectures that fpf runs, and what sets them apart: the one place where they are listed.
#pragma once

#include <array>
#include <fpf/core/error.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::model {

/// A family of decoder-only transformers. All have RMSNorm before attention and MLP, RoPE by halves, grouped queries and a
/// gated SiLU MLP without biases.
struct Architecture {
  std::string_view name;        // config.json's architectures[0]
  std::string_view model_type;  // config.json's model_type
  std::string_view gguf;        // GGUF's general.architecture; empty where its files bear another's name
  bool qk_norm;                 // RMSNorm per head on q and k, before RoPE
  bool experts;                 // a router and experts in every layer instead of one MLP
  bool gguf_interleaves;        // GGUF files store q's and k's rows per head as [d/2, 2] instead of [2, d/2]
  bool window_has_switch;       // config.json's sliding_window counts with use_sliding_window only
  bool own_kv_default;          // a config.json without num_key_value_heads means a number of its own to transformers
  int default_head_dim;         // where config.json has no head_dim, as transformers does; 0: hidden_size / heads
};

inline constexpr std::array<Architecture, 3> architectures{
    {{"LlamaForCausalLM", "llama", "llama", false, false, true, false, false, 0},
     {"Qwen3ForCausalLM", "qwen3", "qwen3", true, false, false, true, true, 128},
     {"Qwen3MoeForCausalLM", "qwen3_moe", "qwen3moe", true, true, false, true, true, 0}}};

namespace detail {

inline const Architecture& find_architecture(std::string_view name, std::string_view Architecture::*key,
                                             const std::string& file) {
  std::vector<std::string_view> known;
  for (const Architecture& one : architectures) {
    if ((one.*key).empty()) continue;
    if (one.*key == name) return one;
    known.push_back(one.*key);
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

/// The same by GGUF's name.
inline const Architecture& architecture_of_gguf(std::string_view name, const std::string& file) {
  return detail::find_architecture(name, &Architecture::gguf, file);
}

}  // namespace fpf::model
