// The parameters of a decoder by Hugging Face's names, in the order of a checkpoint: the one place of names and shapes.
#pragma once

#include <cstdint>
#include <fpf/model/architectures.hpp>
#include <fpf/model/config.hpp>
#include <fpf/quant/linear_spec.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fpf::model {

/// Gate, up and down projection of a dense layer's MLP or of one expert.
struct MlpParameters {
  quant::LinearSpec gate, up, down;
};

/// A norm's weight [size], stored as `name`.weight.
struct NormParameter {
  std::string name;
  std::int64_t size = 0;
};

/// Of one layer, whole, without the suffixes ".weight" and ".bias".
struct LayerParameters {
  NormParameter input_norm, post_norm;
  std::optional<NormParameter> q_norm, k_norm;
  quant::LinearSpec q, k, v, o;
  std::optional<quant::LinearSpec> router;
  std::vector<MlpParameters> mlps;  // a dense layer has one, else one an expert
};

/// Of the layer `index` of a model; `c` needs its dimensions only. `interleaved_rope`: see Checkpoint.
inline LayerParameters layer_parameters(const ModelConfig& c, std::int64_t index, bool interleaved_rope) {
  const ModuleNames& names = architecture_of(c).modules;
  const std::string prefix = fmt::format("model.layers.{}.", index), attention = prefix + "self_attn.";
  const auto linear = [](std::string name, std::int64_t out, std::int64_t in, std::int64_t interleaved_heads = 0) {
    auto spec = quant::LinearSpec::whole(std::move(name), out, in);
    spec.interleaved_heads = interleaved_heads;
    return spec;
  };
  const auto mlp = [&](const std::string& above, std::int64_t intermediate) -> MlpParameters {
    return {linear(fmt::format("{}.{}", above, names.gate), intermediate, c.hidden_size),
            linear(fmt::format("{}.{}", above, names.up), intermediate, c.hidden_size),
            linear(fmt::format("{}.{}", above, names.down), c.hidden_size, intermediate)};
  };
  LayerParameters out{
      .input_norm = {prefix + "input_layernorm", c.hidden_size},
      .post_norm = {prefix + "post_attention_layernorm", c.hidden_size},
      .q_norm{},
      .k_norm{},
      .q = linear(attention + "q_proj", c.q_size(), c.hidden_size, interleaved_rope ? c.num_heads : 0),
      .k = linear(attention + "k_proj", c.kv_size(), c.hidden_size, interleaved_rope ? c.num_kv_heads : 0),
      .v = linear(attention + "v_proj", c.kv_size(), c.hidden_size),
      .o = linear(attention + "o_proj", c.hidden_size, c.q_size()),
      .router{},
      .mlps{}};
  out.q.bias = out.k.bias = out.v.bias = c.block.qkv_bias;
  if (c.block.qk_norm) {
    out.q_norm = {attention + "q_norm", c.head_dim};
    out.k_norm = {attention + "k_norm", c.head_dim};
  }
  if (!c.is_moe()) {
    out.mlps.push_back(mlp(fmt::format("{}{}", prefix, names.mlp), c.intermediate_size));
    return out;
  }
  out.router = linear(fmt::format("{}{}", prefix, names.router), c.num_experts, c.hidden_size);
  for (std::int64_t expert = 0; expert < c.num_experts; ++expert)
    out.mlps.push_back(mlp(fmt::format("{}{}.{}", prefix, names.experts, expert), c.moe_intermediate_size));
  return out;
}

/// Embedding and head are [vocabulary, hidden]; a tied head is the embedding.
inline quant::LinearSpec embedding_parameter(const ModelConfig& c) {
  return quant::LinearSpec::whole("model.embed_tokens", c.vocab_size, c.hidden_size);
}
inline quant::LinearSpec head_parameter(const ModelConfig& c) {
  return quant::LinearSpec::whole("lm_head", c.vocab_size, c.hidden_size);
}
inline NormParameter final_norm_parameter(const ModelConfig& c) { return {"model.norm", c.hidden_size}; }

/// One parameter as a model of that configuration has it.
struct Parameter {
  enum class Kind : std::uint8_t {
    linear,  // [out, in], quantised in a quantised checkpoint
    matrix,  // [out, in], never quantised: embedding, head, router gates
    vector,  // [out]: norms
    bias     // [out] of a linear layer, never quantised
  };
  Kind kind;
  quant::LinearSpec spec;  // without the suffix ".weight"; of a vector out_features alone counts

  /// The name of the tensor that holds it, where it is not quantised.
  std::string tensor() const { return spec.name + (kind == Kind::bias ? ".bias" : ".weight"); }
};

/// All parameters; `c` needs its dimensions only. A tied head is none. `interleaved_rope`: see Checkpoint.
inline std::vector<Parameter> parameters_of(const ModelConfig& c, bool interleaved_rope = false) {
  using enum Parameter::Kind;
  std::vector<Parameter> out;
  const auto add = [&](Parameter::Kind kind, quant::LinearSpec spec) { out.push_back({kind, std::move(spec)}); };
  const auto add_norm = [&](NormParameter norm) {
    add(vector, quant::LinearSpec::whole(std::move(norm.name), norm.size, 1));
  };
  add(matrix, embedding_parameter(c));
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    LayerParameters p = layer_parameters(c, layer, interleaved_rope);
    add_norm(std::move(p.input_norm));
    for (auto* projection : {&p.q, &p.k, &p.v, &p.o}) {
      add(linear, *projection);
      if (projection->bias) add(bias, std::move(*projection));
    }
    for (auto* norm : {&p.q_norm, &p.k_norm})
      if (*norm) add_norm(std::move(**norm));
    add_norm(std::move(p.post_norm));
    if (p.router) add(matrix, std::move(*p.router));
    for (MlpParameters& mlp : p.mlps)
      for (auto* projection : {&mlp.gate, &mlp.up, &mlp.down}) add(linear, std::move(*projection));
  }
  add_norm(final_norm_parameter(c));
  if (!c.tied_head) add(matrix, head_parameter(c));
  return out;
}

/// The linear modules that stay as they are in a quantised checkpoint. transformers 4 takes bitsandbytes'
/// list for whole names, or names of what stands above (`whole_names`); for the others' lists a name's end
/// will do.
inline std::vector<std::string> kept_modules(const ModelConfig& config, bool whole_names) {
  std::vector<std::string> out{"lm_head"};
  if (!config.is_moe()) return out;
  const std::string_view router = architecture_of(config).modules.router;
  if (!whole_names) out.emplace_back(router);
  for (std::int64_t layer = 0; whole_names && layer < config.num_layers; ++layer)
    out.push_back(fmt::format("model.layers.{}.{}", layer, router));
  return out;
}

}  // namespace fpf::model
