// Shapes of synthetic models: Qwen3-30B-A3B's and Qwen2.5-7B's own config.json, and the same topologies small enough
// for two CPU cores.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace fpf::model::presets {

inline constexpr std::string_view qwen3_30b_a3b = R"({
  "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048,
  "intermediate_size": 6144, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
  "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
  "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [], "max_position_embeddings": 40960,
  "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "rope_scaling": null, "hidden_act": "silu",
  "attention_bias": false, "tie_word_embeddings": false, "use_sliding_window": false, "bos_token_id": 151643,
  "eos_token_id": 151645
})";

inline constexpr std::string_view qwen3_moe_tiny = R"({
  "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 4096, "hidden_size": 256,
  "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 4,
  "head_dim": 64, "num_experts": 32, "num_experts_per_tok": 8, "moe_intermediate_size": 128, "norm_topk_prob": true,
  "decoder_sparse_step": 1, "mlp_only_layers": [], "max_position_embeddings": 40960, "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0, "rope_scaling": null, "hidden_act": "silu", "attention_bias": false,
  "tie_word_embeddings": false, "use_sliding_window": false
})";

inline constexpr std::string_view qwen2_5_7b = R"({
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584,
  "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
  "max_position_embeddings": 32768, "max_window_layers": 28, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "use_sliding_window": false, "sliding_window": 131072,
  "bos_token_id": 151643, "eos_token_id": 151645
})";

inline constexpr std::string_view qwen2_tiny = R"({
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 4096, "hidden_size": 512,
  "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
  "max_position_embeddings": 32768, "max_window_layers": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "use_sliding_window": false
})";

inline constexpr std::array<std::pair<std::string_view, std::string_view>, 4> all{{{"qwen3-30b-a3b", qwen3_30b_a3b},
                                                                                   {"qwen3-moe-tiny", qwen3_moe_tiny},
                                                                                   {"qwen2.5-7b", qwen2_5_7b},
                                                                                   {"qwen2-tiny", qwen2_tiny}}};

/// The config.json text of a preset, or nothing when there is none of that name.
constexpr std::string_view named(std::string_view name) {
  for (const auto& [own, config] : all)
    if (own == name) return config;
  return {};
}

/// "a, b, c"
inline std::string names() {
  std::string out;
  for (const auto& [name, config] : all) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

}  // namespace fpf::model::presets
