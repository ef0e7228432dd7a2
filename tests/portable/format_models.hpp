// Small models of every format that fpf reads, in which groups end within and beyond blocks of 128 columns, heads and
// columns do not divide by 3, and a prompt passes a block of positions.
#pragma once

#include <filesystem>
#include <fpf/model/checkpoint.hpp>
#include <fpf/quant/nf4_format.hpp>
#include <fpf/weights/safetensors_writer.hpp>
#include <fstream>
#include <functional>
#include <random>

#include "gguf_file.hpp"

namespace format_models {

using nlohmann::json;
namespace fs = std::filesystem;

inline json shape(bool experts) {
  json out = {{"vocab_size", 300},      {"hidden_size", 160},           {"intermediate_size", 160},
              {"num_hidden_layers", 2}, {"num_attention_heads", 8},     {"num_key_value_heads", 4},
              {"head_dim", 40},         {"rms_norm_eps", 1e-6},         {"rope_theta", 10000.0},
              {"hidden_act", "silu"},   {"tie_word_embeddings", false}, {"max_position_embeddings", 512}};
  out["architectures"] = {experts ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM"};
  out["model_type"] = experts ? "qwen3_moe" : "qwen3";
  if (experts)
    out.update(
        {{"num_experts", 8}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 96}, {"norm_topk_prob", true}});
  return out;
}

/// Synthetic weights of that shape, in a format of safetensors.
inline std::string synthetic(const std::string& options, bool experts = true) {
  const std::string file = experts ? "experts.json" : "dense.json";
  std::ofstream(file) << shape(experts).dump();
  return "synthetic:" + file + "?seed=2&" + options;
}

/// A checkpoint's tensors in a folder of its own, some of them changed or left out by `change`, which gets a tensor's
/// name, dtype and bytes and says whether it stays.
using Change = std::function<bool(const std::string& name, fpf::DType& dtype, std::vector<std::int64_t>& shape,
                                  std::vector<std::byte>& bytes)>;
inline fpf::model::Checkpoint rewritten(const fpf::model::Checkpoint& from, const fs::path& folder, const json& config,
                                        const Change& change) {
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << config.dump();
  std::vector<fpf::weights::TensorSpec> specs;
  std::vector<std::vector<std::byte>> all;
  for (const std::string& name : from.source().names()) {
    const auto& stored = from.source().at(name);
    fpf::weights::TensorSpec spec{name, stored.dtype(), stored.shape};
    std::vector<std::byte> bytes(stored.bytes());
    from.source().read(stored, 0, bytes);
    if (!change(name, spec.dtype, spec.shape, bytes)) continue;
    specs.push_back(spec);
    all.push_back(std::move(bytes));
  }
  fpf::weights::SafetensorsFileWriter writer(folder / "model.safetensors", specs);
  for (std::size_t i = 0; i < specs.size(); ++i) writer.write(specs[i].name, all[i]);
  writer.commit();
  return fpf::model::Checkpoint::open(folder.string());
}

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

/// GPTQ whose inputs are in groups in no order (desc_act).
inline fpf::model::Checkpoint gptq_in_disorder() {
  const auto from = fpf::model::Checkpoint::open(synthetic("quant=gptq&group_size=32"));
  json config = json::parse(from.config_text());
  config["quantization_config"]["desc_act"] = true;
  std::mt19937 random(5);  // NOLINT: the same every time
  return rewritten(from, "gptq_in_disorder", config, [&](const std::string& name, auto&, auto&, auto& bytes) {
    if (!name.ends_with(".g_idx")) return true;
    std::vector<std::int32_t> groups(bytes.size() / 4);
    std::memcpy(groups.data(), bytes.data(), bytes.size());
    std::shuffle(groups.begin(), groups.end(), random);
    bytes = bytes_of(groups);
    return true;
  });
}

/// NF4 whose blocks have maxima of their own.
inline fpf::model::Checkpoint nf4_not_nested() {
  const auto from = fpf::model::Checkpoint::open(synthetic("quant=nf4"));
  const json config = json::parse(from.config_text());
  return rewritten(from, "nf4_not_nested", config, [&](const std::string& name, auto& dtype, auto& shape, auto& bytes) {
    if (name.ends_with(".nested_absmax") || name.ends_with(".nested_quant_map")) return false;
    if (name.ends_with(".absmax")) {
      std::vector<float> maxima;
      for (const std::byte code : bytes) maxima.push_back(0.03f + 0.0001f * float(code));
      dtype = fpf::DType::float32;
      bytes = bytes_of(maxima);
    }
    if (name.ends_with(fpf::quant::Nf4Tensors::state_suffix)) {
      json state = json::parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
      for (const char* key : {"nested_offset", "nested_blocksize", "nested_dtype"}) state.erase(key);
      const std::string text = state.dump();
      shape = {std::ssize(text)};
      bytes.assign(reinterpret_cast<const std::byte*>(text.data()),
                   reinterpret_cast<const std::byte*>(text.data()) + text.size());
    }
    return true;
  });
}

/// A dense model whose matrices are GGUF blocks of any codes. `type` is ggml's number.
inline fpf::model::Checkpoint gguf(const std::string& name, std::uint32_t type) {
  const auto from = rewritten(fpf::model::Checkpoint::open(synthetic("quant=none", false)), name, shape(false),
                              [](const auto&...) { return true; });
  GgufContent out = gguf_of("qwen3", shape(false), from.source());
  std::mt19937 random(type);  // NOLINT: the same every time
  for (auto& [tensor, content] : out.tensors) {
    if (content.shape.size() != 2) continue;
    const bool bytes = type == 8, minimum = type == 3;
    const std::size_t blocks = std::size_t(content.shape[0] * content.shape[1] / 32);
    content.type = type;
    content.bytes.clear();
    for (std::size_t i = 0; i < blocks; ++i) {
      const auto half = [&](float value) { content.bytes += GgufContent::of(fpf::float16_from_float32(value)); };
      const float d = (bytes ? 0.0006f : 0.01f) * (1 + 0.5f * float(random() % 256) / 256);
      half(d);
      if (minimum) half(-7.5f * d);
      for (int k = 0; k < (bytes ? 32 : 16); ++k) content.bytes += char(random() % 256);
    }
  }
  out.write(name + ".gguf");
  return fpf::model::Checkpoint::open(name + ".gguf");
}

inline const std::vector<std::string>& all() {
  static const std::vector<std::string> names{"dense", "dense experts",  "awq",  "gptq", "gptq in disorder",
                                              "nf4",   "nf4 not nested", "q4_0", "q4_1", "q8_0"};
  return names;
}

inline fpf::model::Checkpoint open(const std::string& format) {
  if (format == "gptq in disorder") return gptq_in_disorder();
  if (format == "nf4 not nested") return nf4_not_nested();
  if (format == "q4_0") return gguf(format, 2);
  if (format == "q4_1") return gguf(format, 3);
  if (format == "q8_0") return gguf(format, 8);
  if (format.starts_with("dense")) return fpf::model::Checkpoint::open(synthetic("quant=none", format != "dense"));
  return fpf::model::Checkpoint::open(synthetic("quant=" + format + (format == "nf4" ? "" : "&group_size=32")));
}

}  // namespace format_models
