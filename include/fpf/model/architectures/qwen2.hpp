// Qwen2 and Qwen2.5, dense: q, k and v have biases, for which config.json has no key.
#pragma once

#include <array>
#include <fpf/model/architecture.hpp>

namespace fpf::model::architectures {

inline constexpr std::array<GgufName, 3> qwen2_gguf_names{{{"attn_q.bias", "self_attn.q_proj.bias"},
                                                           {"attn_k.bias", "self_attn.k_proj.bias"},
                                                           {"attn_v.bias", "self_attn.v_proj.bias"}}};

inline constexpr Architecture qwen2{.name = "Qwen2ForCausalLM",
                                    .model_type = "qwen2",
                                    .gguf = "qwen2",
                                    .block = {.qkv_bias = true},
                                    .window_has_switch = true,
                                    .own_kv_default = true,
                                    .read_json = read_dense_json,
                                    .gguf_names = qwen2_gguf_names,
                                    .read_gguf = read_dense_gguf};

}  // namespace fpf::model::architectures
