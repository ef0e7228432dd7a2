// GGUF files made piece by piece, as the format's description says (docs/gguf.md in ggml).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fpf/weights/tensor_source.hpp>
#include <fstream>
#include <map>
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

/// The tiny Qwen3 model of tests/fixtures/parity, tensors from `source`, as a GGUF file of the same values. Its tokens have
/// names that no text needs.
inline GgufContent gguf_of_qwen3(const fpf::weights::TensorSource& source) {
  GgufContent out;
  out.text("general.architecture", "qwen3");
  for (const auto& [key, value] : std::map<std::string, std::uint32_t>{{"block_count", 5},
                                                                       {"context_length", 128},
                                                                       {"embedding_length", 56},
                                                                       {"feed_forward_length", 55},
                                                                       {"attention.head_count", 6},
                                                                       {"attention.head_count_kv", 2},
                                                                       {"attention.key_length", 16},
                                                                       {"attention.value_length", 16}})
    out.number("qwen3." + key, value);
  out.real("qwen3.rope.freq_base", 1e6f);
  std::vector<std::string> tokens;
  for (int token = 0; token < 202; ++token) tokens.push_back("t" + std::to_string(token));
  tokens.emplace_back("t0t1");
  out.text("tokenizer.ggml.model", "gpt2");
  out.text("tokenizer.ggml.pre", "qwen2");
  out.texts("tokenizer.ggml.tokens", tokens);
  out.texts("tokenizer.ggml.merges", {"t0 t1"});
  out.numbers("tokenizer.ggml.token_type", std::vector<std::uint32_t>(tokens.size(), 1));
  out.real("qwen3.attention.layer_norm_rms_epsilon", 4e-3f);
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
    const std::string module = rest.substr(dot + 1, rest.rfind('.') - dot - 1);
    out.copy("blk." + rest.substr(0, dot) + "." + inner.at(module) + ".weight", *source.find(name));
  }
  return out;
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
