// How often a forward pass chose each expert.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fpf/model/taps.hpp>
#include <vector>

namespace fpf::model {

/// Counts the routers' choices in all layers, over any number of passes.
class ExpertUse : public Taps {
 public:
  ExpertUse(std::int64_t layers, std::int64_t experts)
      : counts_(static_cast<std::size_t>(layers), std::vector<std::int64_t>(static_cast<std::size_t>(experts))) {}

  /// Of one layer, by expert.
  const std::vector<std::int64_t>& counts(std::size_t layer) const { return counts_[layer]; }
  std::size_t layers() const { return counts_.size(); }

  /// One layer's counts as multiples of the mean: 1 is an expert's fair share.
  std::vector<double> shares(std::size_t layer) const {
    double total = 0;
    for (const std::int64_t count : counts_[layer]) total += static_cast<double>(count);
    std::vector<double> out;
    for (const std::int64_t count : counts_[layer])
      out.push_back(static_cast<double>(count) * static_cast<double>(counts_[layer].size()) / std::max(total, 1.0));
    return out;
  }

  bool wants(std::int64_t) const override { return true; }
  void take(evidence::StoredSignal signal, std::int64_t layer, const std::vector<at::Tensor>& columns) override {
    if (signal != evidence::StoredSignal::router) return;
    const at::Tensor ids = columns.front().to(at::kCPU, at::kLong).contiguous();
    for (std::int64_t i = 0; i < ids.numel(); ++i)
      ++counts_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(ids.const_data_ptr<std::int64_t>()[i])];
  }

 private:
  std::vector<std::vector<std::int64_t>> counts_;  // by layer, by expert
};

}  // namespace fpf::model
