// Llama, and what is stored as such (SmolLM2, Mistral's first GGUF files).
#pragma once

#include <fpf/model/architecture.hpp>

namespace fpf::model::architectures {

inline constexpr Architecture llama{.name = "LlamaForCausalLM",
                                    .model_type = "llama",
                                    .gguf = "llama",
                                    .read_json = read_dense_json,
                                    .gguf_interleaves = true,
                                    .read_gguf = read_dense_gguf};

}  // namespace fpf::model::architectures
