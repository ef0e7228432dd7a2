// The parameters of a decoder by Hugging Face's names, in the order of a checkpoint.
#pragma once

#include <cstdint>
#include <fpf/model/config.hpp>
#include <fpf/quant/linear_spec.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::model {

/// One parameter as a model of that configuration has it.
struct Parameter {
  enum class Kind : std::uint8_t {
    linear,  // [out, in], quantised in a quantised checkpoint
    matrix,  // [out, in], never quantised: embedding, head, router gates
    vector   // [out]: norms
  };
  Kind kind;
  quant::LinearSpec spec;  // without the suffix ".weight"; of a vector out_features alone counts
};

/// All parameters; `c` needs its dimensions only. A tied head is none. `interleaved_rope`: see Checkpoint.
inline std::vector<Parameter> parameters_of(const ModelConfig& c, bool interleaved_rope = false) {
  std::vector<Parameter> out;
  const auto add = [&](Parameter::Kind kind, std::string name, std::int64_t rows, std::int64_t columns,
                       std::int64_t interleaved = 0) {
    out.push_back({kind, quant::LinearSpec::whole(std::move(name), rows, columns)});
    out.back().spec.interleaved_heads = interleaved_rope ? interleaved : 0;
  };
  using enum Parameter::Kind;
  const auto add_mlp = [&](const std::string& prefix, std::int64_t intermediate) {
    add(linear, prefix + "gate_proj", intermediate, c.hidden_size);
    add(linear, prefix + "up_proj", intermediate, c.hidden_size);
    add(linear, prefix + "down_proj", c.hidden_size, intermediate);
  };
  add(matrix, "model.embed_tokens", c.vocab_size, c.hidden_size);
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer), attention = prefix + "self_attn.";
    add(vector, prefix + "input_layernorm", c.hidden_size, 1);
    add(linear, attention + "q_proj", c.q_size(), c.hidden_size, c.num_heads);
    add(linear, attention + "k_proj", c.kv_size(), c.hidden_size, c.num_kv_heads);
    add(linear, attention + "v_proj", c.kv_size(), c.hidden_size);
    add(linear, attention + "o_proj", c.hidden_size, c.q_size());
    if (c.qk_norm) {
      add(vector, attention + "q_norm", c.head_dim, 1);
      add(vector, attention + "k_norm", c.head_dim, 1);
    }
    add(vector, prefix + "post_attention_layernorm", c.hidden_size, 1);
    if (!c.is_moe()) {
      add_mlp(prefix + "mlp.", c.intermediate_size);
      continue;
    }
    add(matrix, prefix + "mlp.gate", c.num_experts, c.hidden_size);
    for (std::int64_t expert = 0; expert < c.num_experts; ++expert)
      add_mlp(fmt::format("{}mlp.experts.{}.", prefix, expert), c.moe_intermediate_size);
  }
  add(vector, "model.norm", c.hidden_size, 1);
  if (!c.tied_head) add(matrix, "lm_head", c.vocab_size, c.hidden_size);
  return out;
}

/// The linear modules that stay as they are in a quantised checkpoint. transformers 4 takes bitsandbytes'
/// list for whole names, or names of what stands above (`whole_names`); for the others' lists a name's end
/// will do.
inline std::vector<std::string> kept_modules(const ModelConfig& config, bool whole_names) {
  std::vector<std::string> out{"lm_head"};
  if (config.is_moe() && !whole_names) out.push_back("mlp.gate");
  for (std::int64_t layer = 0; config.is_moe() && whole_names && layer < config.num_layers; ++layer)
    out.push_back(fmt::format("model.layers.{}.mlp.gate", layer));
  return out;
}

}  // namespace fpf::model
