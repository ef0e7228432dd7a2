// GGUF files made piece by piece, as the format's description says (docs/gguf.md in ggml).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fpf/weights/tensor_source.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

/// A file of key-values and tensors; write() brings them into order.
struct GgufContent {
  struct Tensor {
    std::vector<std::int64_t> shape;  // slowest dimension first, as everywhere but in the file
    std::uint32_t type = 0;           // ggml's number
    std::string bytes;
  };
  std::map<std::string, std::string> keys;  // type and value, as stored
  std::map<std::string, Tensor> tensors;

  void text(const std::string& key, const std::string& value) {
    keys[key] = of(std::uint32_t{8}) + of(std::uint64_t{value.size()}) + value;
  }
  void number(const std::string& key, std::uint32_t value) { keys[key] = of(std::uint32_t{4}) + of(value); }
  void small(const std::string& key, std::uint16_t value) { keys[key] = of(std::uint32_t{2}) + of(value); }
  void real(const std::string& key, float value) { keys[key] = of(std::uint32_t{6}) + of(value); }
  void truth(const std::string& key, bool value) { keys[key] = of(std::uint32_t{7}) + of(static_cast<char>(value)); }
  void numbers(const std::string& key, const std::vector<std::uint32_t>& values) {
    std::string& out = keys[key] = of(std::uint32_t{9}) + of(std::uint32_t{4}) + of(std::uint64_t{values.size()});
    for (const auto value : values) out += of(value);
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    std::string& out = keys[key] = of(std::uint32_t{9}) + of(std::uint32_t{8}) + of(std::uint64_t{values.size()});
    for (const auto& value : values) out += of(std::uint64_t{value.size()}) + value;
  }
  void floats(const std::string& name, const std::vector<float>& values) {
    tensors[name] = {
        {std::ssize(values)}, 0, std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size())};
  }
  /// A tensor in float32 or bfloat16 as another source has it.
  void copy(const std::string& name, const fpf::weights::StoredTensor& tensor) {
    tensors[name] = {tensor.shape, tensor.format == fpf::weights::Format::float32 ? 0u : 30u,
                     std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size())};
  }

  void write(const std::filesystem::path& path) const {
    std::string head =
        "GGUF" + of(std::uint32_t{3}) + of(std::uint64_t{tensors.size()}) + of(std::uint64_t{keys.size()});
    for (const auto& [key, value] : keys) head += of(std::uint64_t{key.size()}) + key + value;
    std::string data;
    for (const auto& [name, tensor] : tensors) {
      head += of(std::uint64_t{name.size()}) + name + of(static_cast<std::uint32_t>(tensor.shape.size()));
      for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) head += of(*extent);
      head += of(tensor.type) + of(std::uint64_t{data.size()});
      data += tensor.bytes;
      data.resize((data.size() + 31) / 32 * 32, '\0');
    }
    head.resize((head.size() + 31) / 32 * 32, '\0');
    std::ofstream(path, std::ios::binary) << head << data;
  }

  template <class T>
  static std::string of(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
  }
};

/// A dense model of tests/fixtures/parity, by its config.json and tensors from `source`, as a GGUF file of the same values.
/// Its tokens have names that no text needs.
inline GgufContent gguf_of(const std::string& architecture, const nlohmann::json& config,
                           const fpf::weights::TensorSource& source) {
  GgufContent out;
  out.text("general.architecture", architecture);
  const auto head_dim = config.contains("head_dim") ? config["head_dim"].get<std::uint32_t>()
                                                    : config["hidden_size"].get<std::uint32_t>() /
                                                          config["num_attention_heads"].get<std::uint32_t>();
  for (const auto& [key, value] :
       std::map<std::string, std::uint32_t>{{"block_count", config["num_hidden_layers"]},
                                            {"context_length", config["max_position_embeddings"]},
                                            {"embedding_length", config["hidden_size"]},
                                            {"feed_forward_length", config["intermediate_size"]},
                                            {"attention.head_count", config["num_attention_heads"]},
                                            {"attention.head_count_kv", config["num_key_value_heads"]},
                                            {"attention.key_length", head_dim},
                                            {"attention.value_length", head_dim}})
    out.number(architecture + "." + key, value);
  out.real(architecture + ".rope.freq_base",
           (config.contains("rope_theta") ? config : config["rope_parameters"])["rope_theta"].get<float>());
  out.real(architecture + ".attention.layer_norm_rms_epsilon", config["rms_norm_eps"].get<float>());
  std::vector<std::string> tokens;
  for (int token = 0; token + 1 < config["vocab_size"].get<int>(); ++token)
    tokens.push_back("t" + std::to_string(token));
  tokens.emplace_back("t0t1");
  out.text("tokenizer.ggml.model", "gpt2");
  out.text("tokenizer.ggml.pre", "qwen2");
  out.texts("tokenizer.ggml.tokens", tokens);
  out.texts("tokenizer.ggml.merges", {"t0 t1"});
  out.numbers("tokenizer.ggml.token_type", std::vector<std::uint32_t>(tokens.size(), 1));
  const std::map<std::string, std::string> top{{"model.embed_tokens.weight", "token_embd.weight"},
                                               {"model.norm.weight", "output_norm.weight"},
                                               {"lm_head.weight", "output.weight"}};
  const std::map<std::string, std::string> inner{
      {"input_layernorm", "attn_norm"},    {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
      {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (const std::string& name : source.names()) {
    if (top.contains(name)) {
      out.copy(top.at(name), *source.find(name));
      continue;
    }
    const std::string rest = name.substr(std::string("model.layers.").size());
    const auto dot = rest.find('.');
    const std::string module = rest.substr(dot + 1, rest.rfind('.') - dot - 1), kind = rest.substr(rest.rfind('.'));
    out.copy("blk." + rest.substr(0, dot) + "." + inner.at(module) + kind, *source.find(name));
  }
  return out;
}
/// Tensors from `source`, of the tiny Qwen3 model.
inline GgufContent gguf_of_qwen3(const fpf::weights::TensorSource& source) {
  const auto config = nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/parity/qwen3_untied/config.json"));
  return gguf_of("qwen3", config, source);
}

/// The same in parts NAME-0000N-of-0000M.gguf beside `folder`: the tensors whose place in the order of names is N - 1
/// modulo M, all keys in the first.
inline void write_split(const GgufContent& whole, const std::filesystem::path& folder, const std::string& name,
                        std::uint16_t parts) {
  for (std::uint16_t part = 0; part < parts; ++part) {
    GgufContent one;
    if (part == 0) one.keys = whole.keys;
    one.small("split.no", part);
    one.small("split.count", parts);
    one.number("split.tensors.count", static_cast<std::uint32_t>(whole.tensors.size()));
    std::size_t at = 0;
    for (const auto& entry : whole.tensors)
      if (at++ % parts == part) one.tensors.insert(entry);
    one.write(folder / fmt::format("{}-{:05}-of-{:05}.gguf", name, part + 1, parts));
  }
}
