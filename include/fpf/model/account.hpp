// What of a model's files nobody read: refused where it may change the computation, else listed.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/text.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fpf/weights/gguf_blocks.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::model {

/// The rest of a model that was loaded, by the files' own names.
struct Unread {
  std::vector<std::string> tensors;
  std::vector<std::string> keys;  // of config.json

  bool empty() const { return tensors.empty() && keys.empty(); }
};

namespace detail {

/// Judges tensors that no parameter took.
class Judge {
 public:
  Judge(const Checkpoint& checkpoint, const std::vector<std::string>& names, const std::vector<bool>& taken)
      : source_(checkpoint.source()), config_(checkpoint.config()), gguf_(checkpoint.gguf() != nullptr) {
    for (std::size_t i = 0; i < names.size(); ++i)
      if (taken[i]) taken_.insert(names[i]);
  }

  /// Why the model cannot be run as if the tensor were not there; nothing where it can.
  std::optional<std::string> objection(const weights::StoredTensor& tensor) const {
    const std::string& name = tensor.name;
    const auto layer = layer_of(name);
    const bool beyond = layer && *layer >= config_.num_layers;
    const auto unless = [](bool harmless, std::string why) {
      return harmless ? std::nullopt : std::optional(std::move(why));
    };
    if (beyond) return unless(*layer < config_.of_layers, objection_to_layer(*layer));
    if (name.ends_with(".bias"))
      return unless(all_are(tensor, 0), "it is a bias, not zero, where models of this architecture have none");
    if (name.ends_with("rotary_emb.inv_freq") || name.find(".attn_rot_embd") != std::string::npos)
      return unless(are_plain_frequencies(tensor),
                    fmt::format("these RoPE frequencies are not those of rope_theta {}", config_.rope_theta));
    if (name == "rope_freqs.weight" || name.starts_with("rope_factors_"))
      return unless(all_are(tensor, 1),
                    "it scales RoPE's frequencies, as Llama 3.1 does, and fpf computes plain RoPE only");
    if (name.starts_with("lm_head.")) return objection_to_head(tensor);
    if (layer) return objection_in_layer(name);
    return unless(!is_own(name), "it stands among the model's own tensors, and fpf does not know it");
  }

 private:
  /// N of "model.layers.N." and "blk.N.".
  static std::optional<std::int64_t> layer_of(std::string_view name) {
    for (const std::string_view prefix : {"model.layers.", "blk."}) {
      if (!name.starts_with(prefix)) continue;
      const auto rest = name.substr(prefix.size());
      return parse_number<std::int64_t>(rest.substr(0, rest.find('.')));
    }
    return std::nullopt;
  }

  std::string objection_to_layer(std::int64_t layer) const {
    return fmt::format("the model has {} layers ({}), and this belongs to layer {}", config_.num_layers,
                       gguf_ ? "block_count" : "num_hidden_layers", layer);
  }

  /// A module is stored in one form, whichever it is.
  std::string objection_in_layer(const std::string& name) const {
    for (const std::string_view form : {".weight.", ".weight", ".qweight", ".qzeros", ".scales", ".g_idx", ".SCB"}) {
      const auto at = name.rfind(form);
      if (at == std::string::npos || (form != ".weight." && at + form.size() != name.size())) continue;
      const std::string module = name.substr(0, at);
      for (const std::string_view other : {".weight", ".qweight"})
        if (const std::string took = module + std::string(other); took != name && taken_.contains(took))
          return fmt::format(
              "'{}' is stored dense and quantised, or in two forms: '{}' was taken; remove what is stale", module,
              took);
    }
    if (const auto at = name.find(".experts."); at != std::string::npos && config_.is_moe()) {
      const auto expert = parse_number<std::int64_t>(name.substr(at + 9, name.find('.', at + 9) - at - 9));
      if (expert && *expert >= config_.num_experts) return fmt::format("the model has {} experts", config_.num_experts);
    }
    return "it stands in a layer that runs, and fpf does not know it";
  }

  /// A head of its own beside the embedding that config.json says is the head.
  std::optional<std::string> objection_to_head(const weights::StoredTensor& head) const {
    if (!config_.tied_head) return "the model's head is 'lm_head.weight'";
    const auto* embedding = source_.find("model.embed_tokens.weight");
    if (head.name == "lm_head.weight" && embedding != nullptr && equal(head, *embedding)) return std::nullopt;
    return "tie_word_embeddings says that the head is the embedding, and this one is another; set it to false (transformers "
           "5 takes this head), or remove this tensor";
  }

  bool is_own(std::string_view name) const {
    static constexpr std::array<std::string_view, 4> others{"v.", "mm.", "a.", "cls."};  // GGUF: vision, audio, rankers
    static constexpr std::array<std::string_view, 7> own{"model.", "lm_head",     "layers.",     "embed_tokens.",
                                                         "norm.",  "base_model.", "transformer."};
    const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
    return gguf_ ? std::ranges::none_of(others, begins) : std::ranges::any_of(own, begins);
  }

  /// The tensor's numbers; nothing for a type without them.
  std::optional<std::vector<float>> values_of(const weights::StoredTensor& tensor) const {
    if (tensor.format == weights::Format::other ||
        (weights::is_plain(tensor.format) &&
         (tensor.format > weights::Format::bfloat16 || tensor.format == weights::Format::float64)))
      return std::nullopt;
    std::vector<std::byte> scratch;
    std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
    weights::dequantise(tensor.format, source_.bytes_of(tensor, scratch), out);
    return out;
  }

  bool all_are(const weights::StoredTensor& tensor, float wanted) const {
    const auto values = values_of(tensor);
    return values && std::ranges::all_of(*values, [&](float value) { return value == wanted; });
  }

  /// 1 / theta^(2i/d), as precise as the type that stores them.
  bool are_plain_frequencies(const weights::StoredTensor& tensor) const {
    const auto values = values_of(tensor);
    if (!values || std::ssize(*values) * 2 != config_.head_dim) return false;
    const double relative = tensor.format == weights::Format::bfloat16  ? 0x1p-7
                            : tensor.format == weights::Format::float16 ? 0x1p-10
                                                                        : 0x1p-18;
    for (std::size_t i = 0; i < values->size(); ++i) {
      const double wanted =
          std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config_.head_dim));
      const double smallest = tensor.format == weights::Format::float16 ? 0x1p-24 : 0;  // a subnormal's step
      if (!(std::abs((*values)[i] - wanted) <= relative * wanted + smallest)) return false;
    }
    return true;
  }

  bool equal(const weights::StoredTensor& a, const weights::StoredTensor& b) const {
    if (a.shape != b.shape) return false;
    std::vector<std::byte> scratch_a, scratch_b;
    if (a.format == b.format && a.format != weights::Format::other)
      return std::ranges::equal(source_.bytes_of(a, scratch_a), source_.bytes_of(b, scratch_b));
    const auto values_a = values_of(a), values_b = values_of(b);
    return values_a && values_b && *values_a == *values_b;
  }

  const weights::TensorSource& source_;
  const ModelConfig& config_;
  bool gguf_;
  std::set<std::string> taken_;
};

}  // namespace detail

/// The account of a model that was loaded; `taken` is TensorSource::taken(), of all processes together where each holds
/// some of the experts. Throws Error for a tensor that may change the computation, naming it, its file and why.
inline Unread account(const Checkpoint& checkpoint, const std::vector<bool>& taken) {
  const std::vector<std::string> names = checkpoint.source().names();
  const detail::Judge judge(checkpoint, names, taken);
  Unread out;
  std::set<std::string> listed;  // an expert's parts have one name in the file
  std::string first;
  std::size_t refused = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (taken[i]) continue;
    const weights::StoredTensor& tensor = *checkpoint.source().find(names[i]);
    listed.insert(tensor.own_name());
    const auto objection = judge.objection(tensor);
    if (objection && refused++ == 0)
      first = fmt::format("tensor '{}' in {} is read by no parameter of the model: {}", tensor.own_name(), tensor.file,
                          *objection);
  }
  if (refused != 0) fail("{}{}", first, refused == 1 ? "" : fmt::format(" ({} more such tensors)", refused - 1));
  out.tensors.assign(listed.begin(), listed.end());
  out.tensors.insert(out.tensors.end(), checkpoint.source().outside().begin(), checkpoint.source().outside().end());
  out.keys = checkpoint.config().unread_keys;
  return out;
}
inline Unread account(const Checkpoint& checkpoint) { return account(checkpoint, checkpoint.source().taken()); }

namespace detail {

/// "model.layers.12.x" -> "model.layers.*.x": a name for all of a kind.
inline std::string kind_of(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const auto dot = std::min(name.find('.'), name.size());
    const std::string_view part = name.substr(0, dot);
    out += !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos ? "*" : part;
    if (dot < name.size()) out += '.';
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  return out;
}

}  // namespace detail

/// For the manifest: how many tensors, their names with `*` for numbers and the keys' (at most 100 each).
inline nlohmann::ordered_json describe(const Unread& unread) {
  constexpr std::size_t most = 100;
  std::set<std::string> kinds;
  for (const std::string& name : unread.tensors) kinds.insert(one_line(detail::kind_of(name)));
  const auto first = [](const auto& names) {
    auto out = nlohmann::ordered_json::array();
    for (const std::string& name : names)
      if (out.size() < most) out.push_back(name);
    return out;
  };
  return {{"tensor_count", unread.tensors.size()}, {"tensors", first(kinds)}, {"keys", first(unread.keys)}};
}

}  // namespace fpf::model
