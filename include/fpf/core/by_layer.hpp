// What is done in which layers of a model, as the manifest says it.
#pragma once

#include <fpf/core/error.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf {

/// One text a layer, in ascending order of layers; equal ones are joined.
class ByLayer {
 public:
  /// `layer`: -1 for what stands before or after the layers.
  void add(int layer, const std::string& text) {
    for (auto& [known, layers] : texts_)
      if (known == text) {
        if (layers.back() != layer) layers.push_back(layer);
        return;
      }
    texts_.push_back({text, {layer}});
  }

  /// The text that all have; else "layers 0-2, 5: A; layer 3: B".
  std::string text() const {
    if (texts_.size() == 1) return texts_.front().first;
    std::string out;
    for (const auto& [known, layers] : texts_) out += (out.empty() ? "" : "; ") + names_of(layers) + ": " + known;
    return out;
  }

 private:
  static std::string names_of(const std::vector<int>& layers) {
    std::string out;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::size_t first = i;
      while (i + 1 < layers.size() && layers[i + 1] == layers[i] + 1 && layers[first] >= 0) ++i;
      if (!out.empty()) out += ", ";
      if (layers[first] < 0)
        out += "outside layers";
      else
        out += first == i ? fmt::format("{}", layers[first]) : fmt::format("{}-{}", layers[first], layers[i]);
    }
    return layers.front() < 0 || layers.back() < 0 ? out : (layers.size() == 1 ? "layer " : "layers ") + out;
  }

  std::vector<std::pair<std::string, std::vector<int>>> texts_;
};

}  // namespace fpf
