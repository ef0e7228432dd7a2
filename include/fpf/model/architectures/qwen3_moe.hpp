// Qwen3's mixtures of experts: Qwen3's attention, and a router with experts in every layer.
#pragma once

#include <array>
#include <fpf/model/architecture.hpp>

namespace fpf::model::architectures {

inline constexpr std::array<GgufName, 3> qwen3_moe_gguf_names{{{"attn_q_norm.weight", "self_attn.q_norm.weight"},
                                                               {"attn_k_norm.weight", "self_attn.k_norm.weight"},
                                                               {"ffn_gate_inp.weight", "mlp.gate.weight"}}};
inline constexpr std::array<GgufName, 3> qwen3_moe_gguf_stacks{{{"ffn_gate_exps.weight", "gate_proj.weight"},
                                                                {"ffn_up_exps.weight", "up_proj.weight"},
                                                                {"ffn_down_exps.weight", "down_proj.weight"}}};

inline void read_qwen3_moe_json(const JsonObject& in, ModelConfig& out) {
  Fact experts(in.name());  // transformers 5.1 and later write the second name
  for (const char* key : {"num_experts", "num_local_experts"}) experts.add(in, key);
  out.num_experts = experts.get_or<std::int64_t>(0);
  if (!experts.has()) fail("{} lacks 'num_experts' (or 'num_local_experts')", in.name());
  if (out.num_experts <= 0)
    fail("'{}' in {} is {}: expected a positive number", experts.name(), in.name(), out.num_experts);
  out.experts_per_token = in.positive("num_experts_per_tok");
  out.moe_intermediate_size = in.positive("moe_intermediate_size");
  out.norm_topk_prob = in.get_or("norm_topk_prob", false);
  static_cast<void>(in.has("intermediate_size"));  // of dense layers, of which there are none
}

inline void read_qwen3_moe_gguf(const GgufKeys& in, ModelConfig& out) {
  out.num_experts = in.size("expert_count");
  out.experts_per_token = in.size("expert_used_count");
  out.moe_intermediate_size = in.size("expert_feed_forward_length");
  out.norm_topk_prob = true;  // as llama.cpp computes every model of this name
}

inline constexpr Architecture qwen3_moe{.name = "Qwen3MoeForCausalLM",
                                        .model_type = "qwen3_moe",
                                        .gguf = "qwen3moe",
                                        .block = {.qk_norm = true, .experts = true},
                                        .window_has_switch = true,
                                        .own_kv_default = true,
                                        .read_json = read_qwen3_moe_json,
                                        .gguf_names = qwen3_moe_gguf_names,
                                        .gguf_stacks = qwen3_moe_gguf_stacks,
                                        .read_gguf = read_qwen3_moe_gguf};

}  // namespace fpf::model::architectures
