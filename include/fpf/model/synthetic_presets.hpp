// Shapes of synthetic models: Qwen3-30B-A3B's own config.json, and the same topology small enough for two CPU
// cores.
#pragma once

#include <string_view>

namespace fpf::model::presets {

inline constexpr std::string_view qwen3_30b_a3b = R"({
  "architectures": ["Qwen3MoeForCausalLM"],
  "model_type": "qwen3_moe",
  "vocab_size": 151936,
  "hidden_size": 2048,
  "intermediate_size": 6144,
  "num_hidden_layers": 48,
  "num_attention_heads": 32,
  "num_key_value_heads": 4,
  "head_dim": 128,
  "num_experts": 128,
  "num_experts_per_tok": 8,
  "moe_intermediate_size": 768,
  "norm_topk_prob": true,
  "decoder_sparse_step": 1,
  "mlp_only_layers": [],
  "max_position_embeddings": 40960,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "rope_scaling": null,
  "hidden_act": "silu",
  "attention_bias": false,
  "tie_word_embeddings": false,
  "use_sliding_window": false,
  "bos_token_id": 151643,
  "eos_token_id": 151645
})";

inline constexpr std::string_view qwen3_moe_tiny = R"({
  "architectures": ["Qwen3MoeForCausalLM"],
  "model_type": "qwen3_moe",
  "vocab_size": 4096,
  "hidden_size": 256,
  "intermediate_size": 768,
  "num_hidden_layers": 6,
  "num_attention_heads": 8,
  "num_key_value_heads": 4,
  "head_dim": 64,
  "num_experts": 32,
  "num_experts_per_tok": 8,
  "moe_intermediate_size": 128,
  "norm_topk_prob": true,
  "decoder_sparse_step": 1,
  "mlp_only_layers": [],
  "max_position_embeddings": 40960,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "rope_scaling": null,
  "hidden_act": "silu",
  "attention_bias": false,
  "tie_word_embeddings": false,
  "use_sliding_window": false
})";

/// The config.json text of a preset, or nothing when there is none of that name.
constexpr std::string_view named(std::string_view name) {
  if (name == "qwen3-30b-a3b") return qwen3_30b_a3b;
  if (name == "qwen3-moe-tiny") return qwen3_moe_tiny;
  return {};
}

}  // namespace fpf::model::presets
