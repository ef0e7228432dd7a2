// What a checkpoint says of its model: dimensions and constants, from config.json or from GGUF metadata.
#pragma once

#include <array>
#include <cstdint>
#include <fpf/core/dtype.hpp>
#include <fpf/core/json.hpp>
#include <fpf/model/architecture.hpp>
#include <fpf/weights/gguf.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace fpf::model {

/// Dimensions of a decoder-only transformer. Every size that fpf uses comes from here.
struct ModelConfig {
  std::string architecture;  // one of architectures' names
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;  // of the dense MLP; unused in MoE layers
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_positions = 0;
  double rms_norm_eps = 0;
  double rope_theta = 0;
  bool tied_head = false;
  bool qk_norm = false;          // RMSNorm per head on q and k, before RoPE
  std::int64_t num_experts = 0;  // 0: dense
  std::int64_t experts_per_token = 0;
  std::int64_t moe_intermediate_size = 0;
  bool norm_topk_prob = false;   // the chosen experts' weights are divided by their sum
  DType dtype = DType::float32;  // of activations, unless the user asks for another
  nlohmann::json quantization;   // config.json's quantization_config, or null

  bool is_moe() const { return num_experts > 0; }
  std::int64_t q_size() const { return num_heads * head_dim; }
  std::int64_t kv_size() const { return num_kv_heads * head_dim; }
};

namespace detail {

/// The floating-point type under a key. Throws Error for names of no such type.
inline DType dtype_in(const JsonObject& config, const char* key) {
  const auto name = config.get<std::string>(key);
  for (const auto type : {DType::float32, DType::float16, DType::bfloat16, DType::float64})  // the last: with --dtype
    if (name_of(type) == name) return type;
  fail("'{}' in {} is '{}': expected float32, float16 or bfloat16", key, config.name(), name);
}

/// What would change the computation in a way fpf does not follow is refused by name.
inline void refuse_unsupported(const JsonObject& config) {
  for (const char* bias : {"attention_bias", "mlp_bias"})
    if (config.get_or(bias, false)) fail("{} sets {}: fpf's layers have no bias", config.name(), bias);
  const auto activation = config.get_or<std::string>("hidden_act", "silu");
  if (activation != "silu") fail("{} sets hidden_act {}: fpf computes silu", config.name(), activation);
  if (config.get_or("use_sliding_window", false)) fail("{} uses a sliding window: not supported", config.name());
  if (config.get_or<std::int64_t>("decoder_sparse_step", 1) != 1 ||
      (config.has("mlp_only_layers") && !config.at("mlp_only_layers").empty()))
    fail("{} mixes dense and sparse layers (decoder_sparse_step, mlp_only_layers): not supported", config.name());
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(key)) continue;
    const auto& rope = config.at(key);
    if (!rope.is_object()) fail("'{}' in {} is {}: expected an object", key, config.name(), rope.dump());
    const JsonObject in(rope, fmt::format("{} of {}", key, config.name()));
    const auto type = in.get_or<std::string>("rope_type", in.get_or<std::string>("type", "default"));
    if (type != "default") fail("{} scales RoPE by '{}': only plain RoPE is supported", config.name(), type);
  }
}

inline double rope_theta(const JsonObject& config) {
  if (config.has("rope_theta")) return config.get<double>("rope_theta");
  if (config.has("rope_parameters")) {
    const JsonObject rope(config.at("rope_parameters"), "rope_parameters of " + config.name());
    return rope.get_or("rope_theta", 10000.0);
  }
  return 10000.0;
}

}  // namespace detail

/// Throws Error, naming `file` and the key, when a dimension is missing, impossible, or two of them disagree.
inline void validate(const ModelConfig& config, const std::string& file) {
  if (config.num_heads % config.num_kv_heads != 0)
    fail("{}: {} attention heads do not divide into {} key-value heads", file, config.num_heads, config.num_kv_heads);
  if (config.head_dim % 2 != 0) fail("{}: head_dim {} is odd, RoPE needs pairs", file, config.head_dim);
  if (config.is_moe() && config.experts_per_token > config.num_experts)
    fail("{}: {} experts per token of {}", file, config.experts_per_token, config.num_experts);
}

/// Reads a Hugging Face config.json. `file` names it in messages. Throws Error for other architectures.
inline ModelConfig config_from_json(const nlohmann::json& json, const std::string& file) {
  if (!json.is_object()) fail("{} is not a JSON object", file);
  const JsonObject in(json, file);
  ModelConfig out;
  const auto names = in.get<std::vector<std::string>>("architectures");
  const Architecture& architecture = architecture_of(names.empty() ? "" : names.front(), file);
  out.architecture = architecture.name;
  detail::refuse_unsupported(in);
  out.vocab_size = in.positive("vocab_size");
  out.hidden_size = in.positive("hidden_size");
  out.num_layers = in.positive("num_hidden_layers");
  out.num_heads = in.positive("num_attention_heads");
  out.num_kv_heads = in.has("num_key_value_heads") ? in.positive("num_key_value_heads") : out.num_heads;
  out.head_dim = in.has("head_dim") ? in.positive("head_dim") : out.hidden_size / out.num_heads;
  out.max_positions = in.positive("max_position_embeddings");
  out.rms_norm_eps = in.get<double>("rms_norm_eps");
  out.rope_theta = detail::rope_theta(in);
  out.tied_head = in.get_or("tie_word_embeddings", false);
  out.qk_norm = architecture.qk_norm;
  if (architecture.experts) {
    out.num_experts = in.positive("num_experts");
    out.experts_per_token = in.positive("num_experts_per_tok");
    out.moe_intermediate_size = in.positive("moe_intermediate_size");
    out.norm_topk_prob = in.get_or("norm_topk_prob", false);
  } else {
    out.intermediate_size = in.positive("intermediate_size");
  }
  for (const char* key : {"torch_dtype", "dtype"})
    if (in.has(key)) out.dtype = detail::dtype_in(in, key);
  if (in.has("quantization_config")) out.quantization = in.at("quantization_config");
  validate(out, file);
  return out;
}

/// Reads the metadata of a GGUF file. Throws Error for other architectures. Activations default to float32, in which
/// every block format's values are exact products of their parts.
inline ModelConfig config_from_gguf(const weights::GgufFile& gguf) {
  const auto& meta = gguf.metadata();
  const std::string file = gguf.files().front().string();
  const auto kind = meta.get<std::string>("general.architecture");
  const Architecture& architecture = architecture_of_gguf(kind, file);
  ModelConfig out;
  out.architecture = architecture.name;
  const auto size = [&](const char* key) {
    const auto value = meta.get<std::int64_t>(kind + "." + key);
    if (value <= 0) fail("'{}.{}' in {} is {}: expected a positive number", kind, key, file, value);
    return value;
  };
  out.hidden_size = size("embedding_length");
  out.num_layers = size("block_count");
  out.num_heads = size("attention.head_count");
  out.num_kv_heads = meta.contains(kind + ".attention.head_count_kv") ? size("attention.head_count_kv") : out.num_heads;
  out.head_dim =
      meta.contains(kind + ".attention.key_length") ? size("attention.key_length") : out.hidden_size / out.num_heads;
  out.max_positions = size("context_length");
  out.rms_norm_eps = static_cast<float>(meta.get<double>(kind + ".attention.layer_norm_rms_epsilon"));
  out.rope_theta = meta.get_or<double>(kind + ".rope.freq_base", 10000.0);
  if (meta.contains(kind + ".rope.scaling.type") && meta.get<std::string>(kind + ".rope.scaling.type") != "none")
    fail("{} scales RoPE: only plain RoPE is supported", file);
  out.tied_head = !gguf.contains("output.weight");
  out.qk_norm = architecture.qk_norm;
  out.vocab_size = gguf.at("token_embd.weight").shape.at(0);
  if (architecture.experts) {
    out.num_experts = size("expert_count");
    out.experts_per_token = size("expert_used_count");
    out.moe_intermediate_size = size("expert_feed_forward_length");
    out.norm_topk_prob = true;  // as llama.cpp computes every qwen3moe model, the only one with experts here
  } else {
    out.intermediate_size = size("feed_forward_length");
  }
  validate(out, file);
  return out;
}

/// The same as a Hugging Face config.json (without quantization_config), for sources that have none of their own.
inline nlohmann::ordered_json config_to_json(const ModelConfig& config) {
  const bool moe = config.is_moe();
  nlohmann::ordered_json out = {{"architectures", {config.architecture}},
                                {"model_type", architecture_of(config.architecture, "the model").model_type},
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
