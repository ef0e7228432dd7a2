// What a family of models is, as data: its names in files, what its layers have, how its configuration is read. Each
// family is a file of architectures/; architectures.hpp lists them.
#pragma once

#include <fpf/model/config.hpp>
#include <fpf/model/config_keys.hpp>
#include <span>
#include <string_view>
#include <utility>

namespace fpf::model {

/// Names of a layer's modules below "model.layers.N." where families differ.
struct ModuleNames {
  std::string_view mlp = "mlp";
  std::string_view router = "mlp.gate";
  std::string_view experts = "mlp.experts";
  std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";  // below mlp and each expert
};

/// A tensor of a GGUF file below "blk.N." and its name below "model.layers.N.".
using GgufName = std::pair<std::string_view, std::string_view>;

/// A family of decoder-only transformers.
struct Architecture {
  std::string_view name;        // config.json's architectures[0]
  std::string_view model_type;  // config.json's model_type
  std::string_view gguf;        // GGUF's general.architecture; empty where its files bear another's name
  Block block{};
  ModuleNames modules{};

  // config.json as transformers reads it:
  bool window_has_switch = false;  // sliding_window counts with use_sliding_window only
  bool own_kv_default = false;     // without num_key_value_heads, transformers takes a number of its own
  int default_head_dim = 0;        // where there is no head_dim; 0: hidden_size / heads
  /// Reads the keys that this family alone has, and those of its MLP.
  void (*read_json)(const JsonObject& in, ModelConfig& out) = nullptr;

  // GGUF as llama.cpp reads it:
  bool gguf_interleaves = false;            // rows of q and k are stored per head as [d/2, 2] instead of [2, d/2]
  std::span<const GgufName> gguf_names{};   // of tensors beside those that all families have
  std::span<const GgufName> gguf_stacks{};  // [experts, out, in]: the module of each expert
  void (*read_gguf)(const GgufKeys& in, ModelConfig& out) = nullptr;
};

/// The keys of a dense MLP, for Architecture's readers.
inline void read_dense_json(const JsonObject& in, ModelConfig& out) {
  out.intermediate_size = in.positive("intermediate_size");
}
inline void read_dense_gguf(const GgufKeys& in, ModelConfig& out) {
  out.intermediate_size = in.size("feed_forward_length");
}

}  // namespace fpf::model
