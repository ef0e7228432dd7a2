// Qwen3, dense: q and k are normed per head.
#pragma once

#include <array>
#include <fpf/model/architecture.hpp>

namespace fpf::model::architectures {

inline constexpr std::array<GgufName, 2> qwen3_gguf_names{
    {{"attn_q_norm.weight", "self_attn.q_norm.weight"}, {"attn_k_norm.weight", "self_attn.k_norm.weight"}}};

inline constexpr Architecture qwen3{.name = "Qwen3ForCausalLM",
                                    .model_type = "qwen3",
                                    .gguf = "qwen3",
                                    .block = {.qk_norm = true},
                                    .window_has_switch = true,
                                    .own_kv_default = true,
                                    .default_head_dim = 128,
                                    .read_json = read_dense_json,
                                    .gguf_names = qwen3_gguf_names,
                                    .read_gguf = read_dense_gguf};

}  // namespace fpf::model::architectures
