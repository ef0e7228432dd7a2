// A GGUF file seen under Hugging Face's tensor names, stacked experts taken apart.
#pragma once

#include <array>
#include <fpf/model/architectures.hpp>
#include <fpf/model/expert_stacks.hpp>
#include <fpf/weights/gguf.hpp>
#include <optional>
#include <span>
#include <utility>

namespace fpf::model {

/// The tensors of a GGUF file as views with the names that a Hugging Face checkpoint of the same model has
/// (gguf-py's tensor_mapping, backwards). `blk.N.ffn_gate_exps.weight` [experts, out, in] becomes one tensor an expert.
/// Rows stay as stored: llama files keep those of q and k interleaved, see Checkpoint::interleaved_rope. What has no
/// such name keeps its own, so that it is accounted for.
class GgufAsHuggingFace : public weights::TensorSource {
 public:
  explicit GgufAsHuggingFace(const std::filesystem::path& path) : gguf_(path) {
    add_files_of(gguf_);
    const Architecture& architecture =
        architecture_of_gguf(gguf_.metadata().get<std::string>("general.architecture"), path.string());
    for (const std::string& name : gguf_.names()) {
      const weights::StoredTensor& tensor = *gguf_.find(name);
      const auto [prefix, part] = split(name);
      if (const auto whole = find_in(top_names, name)) {
        add_as(std::string(*whole), tensor);
      } else if (auto inner = find_in(layer_names, part); inner || (inner = find_in(architecture.gguf_names, part))) {
        add_as(prefix + std::string(*inner), tensor);
      } else if (const auto module = find_in(architecture.gguf_stacks, part)) {
        add_experts(fmt::format("{}{}.", prefix, architecture.modules.experts), *module, tensor);
      } else {
        add(tensor);
      }
    }
  }

  const weights::GgufFile& gguf() const { return gguf_; }

 private:
  static constexpr std::array<GgufName, 3> top_names{{{"token_embd.weight", "model.embed_tokens.weight"},
                                                      {"output_norm.weight", "model.norm.weight"},
                                                      {"output.weight", "lm_head.weight"}}};
  static constexpr std::array<GgufName, 9> layer_names{{{"attn_norm.weight", "input_layernorm.weight"},
                                                        {"ffn_norm.weight", "post_attention_layernorm.weight"},
                                                        {"attn_q.weight", "self_attn.q_proj.weight"},
                                                        {"attn_k.weight", "self_attn.k_proj.weight"},
                                                        {"attn_v.weight", "self_attn.v_proj.weight"},
                                                        {"attn_output.weight", "self_attn.o_proj.weight"},
                                                        {"ffn_gate.weight", "mlp.gate_proj.weight"},
                                                        {"ffn_up.weight", "mlp.up_proj.weight"},
                                                        {"ffn_down.weight", "mlp.down_proj.weight"}}};

  static std::optional<std::string_view> find_in(std::span<const GgufName> names, std::string_view name) {
    for (const auto& [own, hugging_face] : names)
      if (own == name) return hugging_face;
    return std::nullopt;
  }

  /// "blk.3.attn_q.weight" -> {"model.layers.3.", "attn_q.weight"}.
  static std::pair<std::string, std::string_view> split(std::string_view name) {
    constexpr std::string_view block = "blk.";
    const auto dot = name.find('.', block.size());
    if (!name.starts_with(block) || dot == std::string_view::npos) return {"", name};
    return {"model.layers." + std::string(name.substr(block.size(), dot - block.size())) + ".", name.substr(dot + 1)};
  }

  void add_as(std::string name, weights::StoredTensor tensor) {
    tensor.name_in_file = std::exchange(tensor.name, std::move(name));
    add(std::move(tensor));
  }

  void add_experts(const std::string& experts, std::string_view module, const weights::StoredTensor& stacked) {
    for (std::int64_t expert = 0; expert < (stacked.shape.empty() ? 1 : stacked.shape[0]); ++expert)
      add(expert_of(stacked, expert, fmt::format("{}{}.{}", experts, expert, module)));
  }

  weights::GgufFile gguf_;
};

}  // namespace fpf::model
