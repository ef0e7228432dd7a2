// Experts that a file keeps as one tensor a projection, taken apart.
#pragma once

#include <fpf/weights/safetensors.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace fpf::model {

/// Part `part` of `parts` of one expert's rows, as a view under the name `name`; `stacked` is [experts, rows, columns].
/// Throws Error for another shape.
inline weights::StoredTensor expert_of(const weights::StoredTensor& stacked, std::int64_t expert, std::string name,
                                       std::int64_t part = 0, std::int64_t parts = 1) {
  if (stacked.shape.size() != 3 || stacked.shape[0] <= 0 || stacked.shape[1] % parts != 0)
    fail("tensor '{}' in {} has shape {}: expected [experts, out, in]{}", stacked.own_name(), stacked.file,
         weights::shape_text(stacked.shape), parts == 1 ? "" : fmt::format(" with out in {} parts", parts));
  weights::StoredTensor view = stacked;
  view.name = std::move(name);
  view.name_in_file = stacked.own_name();
  view.shape = {stacked.shape[1] / parts, stacked.shape[2]};
  const std::size_t bytes = stacked.data.size() / static_cast<std::size_t>(stacked.shape[0] * parts);
  view.data = stacked.data.subspan(static_cast<std::size_t>(expert * parts + part) * bytes, bytes);
  return view;
}

/// The tensors of a Hugging Face directory with one an expert and projection, also where transformers 5 wrote its own
/// modules' (save_original_format=False): `mlp.experts.gate_up_proj` [experts, 2 * intermediate, hidden], the gate's
/// rows first, and `mlp.experts.down_proj` [experts, hidden, intermediate].
class UnstackedExperts : public weights::TensorSource {
 public:
  explicit UnstackedExperts(std::unique_ptr<weights::SafetensorsDirectory> base) : base_(std::move(base)) {
    add_files_of(*base_);
    for (const auto& one : base_->outside()) add_outside(one);
    for (const std::string& name : base_->names()) {
      const weights::StoredTensor& tensor = *base_->find(name);
      if (name.ends_with(gate_up)) {
        add_experts(tensor, name.substr(0, name.size() - gate_up.size()), {"gate_proj", "up_proj"});
      } else if (name.ends_with(down)) {
        add_experts(tensor, name.substr(0, name.size() - down.size()), {"down_proj"});
      } else {
        add(tensor);
      }
    }
  }

  /// Whether a source holds stacked experts.
  static bool are_in(const weights::TensorSource& source) {
    return std::ranges::any_of(source.names(),
                               [](const std::string& name) { return name.ends_with(gate_up) || name.ends_with(down); });
  }

 private:
  static constexpr std::string_view gate_up = ".mlp.experts.gate_up_proj", down = ".mlp.experts.down_proj";

  void add_experts(const weights::StoredTensor& stacked, const std::string& layer,
                   std::initializer_list<std::string_view> projections) {
    const auto parts = static_cast<std::int64_t>(projections.size());
    for (std::int64_t expert = 0; expert < (stacked.shape.empty() ? 1 : stacked.shape[0]); ++expert)
      for (std::int64_t part = 0; part < parts; ++part)
        add(expert_of(stacked, expert,
                      fmt::format("{}.mlp.experts.{}.{}.weight", layer, expert, projections.begin()[part]), part,
                      parts));
  }

  std::unique_ptr<weights::SafetensorsDirectory> base_;
};

}  // namespace fpf::model
