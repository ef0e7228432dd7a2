// A Hugging Face config.json as transformers 5.24 reads it: what changes numbers is read or refused by name, and a fact
// that stands at two places must be one.
#pragma once

#include <algorithm>
#include <array>
#include <fpf/core/json.hpp>
#include <fpf/model/architectures.hpp>
#include <fpf/model/config.hpp>
#include <fpf/model/config_keys.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fpf::model {

namespace detail {

/// The floating-point type of that name. Throws Error for names of no such type.
inline DType activations_of(const std::string& name, const std::string& key, const std::string& file) {
  for (const auto type : {DType::float32, DType::float16, DType::bfloat16, DType::float64})  // the last: with --dtype
    if (name_of(type) == name) return type;
  fail("'{}' in {} is '{}': expected float32, float16 or bfloat16", key, file, name);
}

/// The base of RoPE's angles. transformers 5 keeps it in rope_parameters, 4 at the top level; rope_scaling is 4's name
/// of the parameters. Throws Error for RoPE that is scaled, partial, or another one in some layers.
inline double rope_theta(const JsonObject& config) {
  Fact theta(config.name()), type(config.name());
  theta.add(config, "rope_theta");
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!config.has(key)) continue;
    const auto& rope = config.at(key);
    if (!rope.is_object()) fail("'{}' in {} is {}: expected an object", key, config.name(), rope.dump());
    const JsonObject in(rope, fmt::format("{} of {}", key, config.name()));
    theta.add(in, "rope_theta", fmt::format("{}.rope_theta", key));
    for (const char* of : {"rope_type", "type"}) type.add(in, of, fmt::format("{}.{}", key, of));
    if (in.get_or("partial_rotary_factor", 1.0) != 1.0)
      fail("{} rotates a part of each head only (partial_rotary_factor): not supported", in.name());
    for (const auto& entry : rope.items())
      if (entry.value().is_object())
        fail("{} gives '{}' RoPE of its own: only one for all layers is supported", in.name(), entry.key());
  }
  if (config.get_or("partial_rotary_factor", 1.0) != 1.0)
    fail("{} rotates a part of each head only (partial_rotary_factor): not supported", config.name());
  const auto scaled = type.get_or<std::string>("default");
  if (scaled != "default")
    fail("{} scales RoPE by '{}' ({}): only plain RoPE is supported", config.name(), scaled, type.name());
  return theta.get_or(10000.0);
}

/// What would change the computation in a way fpf does not follow is refused by name.
inline void refuse_unsupported(const JsonObject& config, const Architecture& architecture, std::int64_t layers) {
  for (const char* bias : {"attention_bias", "mlp_bias"})
    if (config.get_or(bias, false))
      fail("{} sets {}: fpf computes {} with {}", config.name(), bias, architecture.name,
           architecture.block.qkv_bias ? "biases of q, k and v, whatever it says, and no others" : "no biases");
  const auto activation = config.get_or<std::string>("hidden_act", "silu");
  if (activation != "silu" && activation != "swish")
    fail("{} sets hidden_act {}: fpf computes silu", config.name(), activation);
  if (config.has("transformers_weights"))
    fail("{} sets transformers_weights {}: fpf reads model.safetensors or the index's shards only", config.name(),
         config.at("transformers_weights").dump());
  const bool windowed = config.get_or("use_sliding_window", false);
  if (windowed) fail("{} uses a sliding window: not supported", config.name());
  // Qwen's window is off while use_sliding_window is; others' caches go by sliding_window alone.
  if (!architecture.window_has_switch && config.has("sliding_window"))
    fail("{} sets sliding_window {}: fpf attends to all positions", config.name(), config.at("sliding_window").dump());
  static_cast<void>(config.has("sliding_window"));
  if (config.has("layer_types")) {
    const auto types = config.get<std::vector<std::string>>("layer_types");
    if (static_cast<std::int64_t>(types.size()) != layers)
      fail("'layer_types' in {} names {} layers: num_hidden_layers is {}", config.name(), types.size(), layers);
    for (const auto& type : types)
      if (type != "full_attention" && type != "attention")
        fail("'layer_types' in {} has '{}': expected full_attention everywhere", config.name(), type);
  }
  if (!config.get_or("is_causal", true)) fail("{} sets is_causal false: fpf's attention is causal", config.name());
  for (const char* key : {"attention_chunk_size", "per_layer_config", "kv_sharing_modes", "compression_config"})
    if (config.has(key) && !config.at(key).empty())
      fail("{} sets {} to {}: not supported", config.name(), key, config.at(key).dump());
  if (config.get_or<std::int64_t>("decoder_sparse_step", 1) != 1 ||
      (config.has("mlp_only_layers") && !config.at("mlp_only_layers").empty()))
    fail("{} mixes dense and sparse layers (decoder_sparse_step, mlp_only_layers): not supported", config.name());
}

/// Keys that change nothing of a forward pass: transformers' own bookkeeping, training, generation and tokens; and the
/// keys of these architectures that 5.24 reads without effect on the numbers.
inline constexpr auto idle_keys = std::to_array<std::string_view>({
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_experts_implementation",
    "_name_or_path",
    "add_cross_attention",
    "attention_dropout",
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cls_token_id",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "mask_token_id",
    "max_length",
    "max_window_layers",
    "min_length",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
});

inline std::vector<std::string> unread_keys(const JsonObject& config) {
  static_assert(std::ranges::is_sorted(idle_keys));
  std::vector<std::string> out = config.unasked();
  std::erase_if(out, [](const std::string& key) { return std::ranges::binary_search(idle_keys, key); });
  return out;
}

/// Entries of attention: heads, those of keys and values, and elements of each.
inline void read_heads(const JsonObject& in, const Architecture& architecture, ModelConfig& out) {
  out.num_heads = in.positive("num_attention_heads");
  if (architecture.own_kv_default && !in.contains("num_key_value_heads"))
    fail("{} lacks 'num_key_value_heads', without which {} has a default that no checkpoint means", in.name(),
         architecture.name);
  out.num_kv_heads = in.has("num_key_value_heads") ? in.positive("num_key_value_heads") : out.num_heads;
  if (in.has("head_dim")) {
    out.head_dim = in.positive("head_dim");
  } else if (architecture.default_head_dim != 0) {
    out.head_dim = architecture.default_head_dim;
  } else if (out.hidden_size % out.num_heads != 0) {
    fail("{} has no head_dim, and hidden_size {} does not divide into {} heads", in.name(), out.hidden_size,
         out.num_heads);
  } else {
    out.head_dim = out.hidden_size / out.num_heads;
  }
}

}  // namespace detail

/// Whether a config.json names the type of its weights; else it is that of what is stored.
inline bool names_dtype(const nlohmann::json& json) {
  return std::ranges::any_of(std::array{"dtype", "torch_dtype"},
                             [&](const char* key) { return json.contains(key) && !json.at(key).is_null(); });
}

/// Reads a Hugging Face config.json. `file` names it in messages. Throws Error for other architectures, for what fpf
/// does not compute, and naming two keys that contradict each other.
inline ModelConfig config_from_json(const nlohmann::json& json, const std::string& file) {
  if (!json.is_object()) fail("{} is not a JSON object", file);
  const JsonObject in(json, file);
  ModelConfig out;
  const auto names = in.get<std::vector<std::string>>("architectures");
  const Architecture& architecture = architecture_of(names.empty() ? "" : names.front(), file);
  out.architecture = architecture.name;
  if (const auto type = in.get_or("model_type", std::string(architecture.model_type)); type != architecture.model_type)
    fail("{} contradicts itself: architectures is {}, model_type is '{}' (expected '{}')", file, architecture.name,
         type, architecture.model_type);
  out.vocab_size = in.positive("vocab_size");
  out.hidden_size = in.positive("hidden_size");
  out.num_layers = in.positive("num_hidden_layers");
  out.of_layers = std::max(out.num_layers, in.get_or<std::int64_t>("fpf_first_layers_of", 0));
  detail::refuse_unsupported(in, architecture, out.num_layers);
  detail::read_heads(in, architecture, out);
  out.max_positions = in.positive("max_position_embeddings");
  out.rms_norm_eps = in.get_or("rms_norm_eps", 1e-6);  // the default of all classes
  out.rope_theta = detail::rope_theta(in);
  out.tied_head = in.get_or("tie_word_embeddings", false);
  out.block = architecture.block;
  architecture.read_json(in, out);
  Fact dtype(file);
  for (const char* key : {"dtype", "torch_dtype"}) dtype.add(in, key);
  if (dtype.has()) out.dtype = detail::activations_of(dtype.get_or<std::string>(""), dtype.name(), file);
  if (in.has("quantization_config")) out.quantization = in.at("quantization_config");
  out.unread_keys = detail::unread_keys(in);
  validate(out, file);
  return out;
}

/// The same as a Hugging Face config.json (without quantization_config), for sources that have none of their own.
inline nlohmann::ordered_json config_to_json(const ModelConfig& config) {
  const bool moe = config.is_moe();
  nlohmann::ordered_json out = {{"architectures", {config.architecture}},
                                {"model_type", architecture_of(config).model_type},
                                {"vocab_size", config.vocab_size},
                                {"hidden_size", config.hidden_size},
                                {"num_hidden_layers", config.num_layers},
                                {"num_attention_heads", config.num_heads},
                                {"num_key_value_heads", config.num_kv_heads},
                                {"head_dim", config.head_dim},
                                {"max_position_embeddings", config.max_positions},
                                {"rms_norm_eps", config.rms_norm_eps},
                                {"rope_theta", config.rope_theta},
                                {"tie_word_embeddings", config.tied_head},
                                {"attention_bias", false},
                                {"hidden_act", "silu"},
                                {"torch_dtype", name_of(config.dtype)}};
  if (config.block.qkv_bias) out.erase("attention_bias");  // such families have no key for it
  if (moe) {
    out["num_experts"] = config.num_experts;
    out["num_experts_per_tok"] = config.experts_per_token;
    out["moe_intermediate_size"] = config.moe_intermediate_size;
    out["norm_topk_prob"] = config.norm_topk_prob;
  }
  out["intermediate_size"] = moe ? config.moe_intermediate_size * config.experts_per_token : config.intermediate_size;
  return out;
}

/// What checkpoints of one model in different formats share: the same without quantisation and dtype.
inline nlohmann::ordered_json base_config(ModelConfig config) {
  config.dtype = DType::float32;
  config.quantization = nullptr;
  return config_to_json(config);
}

}  // namespace fpf::model
