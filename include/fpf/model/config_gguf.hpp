// A GGUF file's metadata as llama.cpp's loaders of these architectures read it (llama-arch, llama-model: load_hparams):
// what changes numbers is read or refused by name, and an architecture's key that fpf does not know is refused.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <fpf/model/architectures.hpp>
#include <fpf/model/config.hpp>
#include <fpf/model/config_keys.hpp>
#include <fpf/weights/gguf.hpp>
#include <string>

namespace fpf::model {

namespace detail {

/// Keys that change nothing: what llama.cpp keeps for training, embeddings, other norms and its own tools, and the
/// parameters of scaled RoPE where it is not scaled.
inline constexpr auto idle_gguf_keys = std::to_array<std::string_view>(
    {"attention.layer_norm_epsilon", "context_length", "expert_feed_forward_length",
     "expert_shared_feed_forward_length", "feed_forward_length", "pooling_type", "rope.scaling.finetuned",
     "rope.scaling.original_context_length", "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast",
     "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor", "rope.scaling.yarn_log_multiplier",
     "tensor_data_layout"});

/// RoPE over whole heads, unscaled. llama.cpp scales linearly where a factor stands without a type.
inline void require_plain_rope(const GgufKeys& keys, const ModelConfig& config) {
  const auto type = keys.get_or<std::string>("rope.scaling.type", "linear");
  if (type != "none" && type != "linear")
    fail("{} scales RoPE by '{}' ({}): only plain RoPE is supported", keys.file(), type,
         keys.name("rope.scaling.type"));
  const auto unscaled = [](double value) { return value == 0 || value == 1; };
  for (const char* key : {"rope.scaling.factor", "rope.scale_linear"})
    keys.require(key, "it scales RoPE", [&](double value) { return type == "none" || unscaled(value); });
  keys.require("rope.scaling.attn_factor", "it scales RoPE", unscaled);
  keys.require("rope.scaling.alpha", "it scales RoPE", unscaled);
  keys.require("rope.dimension_count", fmt::format("it rotates a part of heads of {} elements", config.head_dim),
               [&](double value) { return value == static_cast<double>(config.head_dim); });
}

/// What llama.cpp has keys for and these architectures' models do without.
inline void require_neutral(const GgufKeys& keys, const ModelConfig& config) {
  const auto zero = [](double value) { return value == 0; };
  const auto off = [](double value) { return value == 0 || value == 1; };
  const auto is = [](double wanted) { return [wanted](double value) { return value == wanted; }; };
  require_plain_rope(keys, config);
  keys.require("attention.value_length", fmt::format("keys have {} elements", config.head_dim),
               is(static_cast<double>(config.head_dim)));
  keys.require("vocab_size", fmt::format("token_embd.weight has {} rows", config.vocab_size),
               is(static_cast<double>(config.vocab_size)));
  keys.require("embedding_length_out", "the output has another width", is(static_cast<double>(config.hidden_size)));
  keys.require("attention.causal", "attention looks ahead", is(1));
  keys.require("attention.sliding_window", "attention has a window",
               [&](double value) { return value == 0 || value >= static_cast<double>(config.max_positions); });
  keys.require("attention.scale", "it scales attention", [&](double value) {
    return value == 0 ||
           static_cast<float>(value) == static_cast<float>(1 / std::sqrt(static_cast<double>(config.head_dim)));
  });
  for (const char* key :
       {"attention.clamp_kqv", "attention.max_alibi_bias", "attn_logit_softcapping", "final_logit_softcapping",
        "router_logit_softcapping", "use_parallel_residual", "swin_norm", "leading_dense_block_count",
        "nextn_predict_layers", "n_deepstack_layers", "expert_shared_count", "expert_chunk_feed_forward_length",
        "rescale_every_n_layers", "attention.shared_kv_layers", "attention.q_lora_rank", "attention.kv_lora_rank"})
    keys.require(key, "it asks for another computation", zero);
  for (const char* key :
       {"logit_scale", "embedding_scale", "residual_scale", "attention.output_scale", "attention.temperature_scale",
        "expert_weights_scale", "expert_group_scale", "expert_group_count", "expert_group_used_count",
        "interleave_moe_layer_step", "moe_every_n_layers", "full_attention_interval"})
    keys.require(key, "it asks for another computation", off);
  keys.require("expert_gating_func", "experts are chosen by another function than softmax", off);
  if (config.is_moe()) {
    keys.require("expert_weights_norm", "llama.cpp divides the experts' weights by their sum", is(1));
  } else {
    for (const char* key : {"expert_count", "expert_used_count", "expert_weights_norm"})
      keys.require(key, "the model has experts", zero);
  }
}

}  // namespace detail

/// Reads the metadata of a GGUF model. Throws Error for other architectures, and for every key of the architecture that
/// asks for something else than fpf computes or that fpf does not know. Activations default to float32, in which every
/// block format's values are exact products of their parts.
inline ModelConfig config_from_gguf(const weights::GgufFile& gguf) {
  const auto& meta = gguf.metadata();
  const std::string file = gguf.files().front().string();
  const auto kind = meta.get<std::string>("general.architecture");
  const Architecture& architecture = architecture_of_gguf(kind, file);
  const GgufKeys keys(meta, kind, file);
  ModelConfig out;
  out.architecture = architecture.name;
  out.hidden_size = keys.size("embedding_length");
  out.num_layers = out.of_layers = keys.size("block_count");
  out.num_heads = keys.size("attention.head_count");
  out.num_kv_heads = keys.has("attention.head_count_kv") ? keys.size("attention.head_count_kv") : out.num_heads;
  if (!keys.has("attention.key_length") && out.hidden_size % out.num_heads != 0)
    fail("{} has no {}, and {} elements do not divide into {} heads", file, keys.name("attention.key_length"),
         out.hidden_size, out.num_heads);
  out.head_dim = keys.has("attention.key_length") ? keys.size("attention.key_length") : out.hidden_size / out.num_heads;
  out.max_positions = keys.size("context_length");
  out.rms_norm_eps = static_cast<float>(keys.get<double>("attention.layer_norm_rms_epsilon"));
  out.rope_theta = keys.get_or<double>("rope.freq_base", 10000.0);
  out.tied_head = !gguf.contains("output.weight");
  out.block = architecture.block;
  const auto* embedding = gguf.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.empty())
    fail("tensor 'token_embd.weight' is missing in {}: expected the embedding of the vocabulary", file);
  out.vocab_size = embedding->shape.front();
  architecture.read_gguf(keys, out);
  detail::require_neutral(keys, out);
  for (const std::string& key : keys.unasked()) {
    static_assert(std::ranges::is_sorted(detail::idle_gguf_keys));
    if (!std::ranges::binary_search(detail::idle_gguf_keys, key))
      fail("{} has the key '{}', which fpf does not know: it may change the computation", file, keys.name(key));
  }
  validate(out, file);
  return out;
}

}  // namespace fpf::model
