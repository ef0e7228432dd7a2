// Watching the linear layers of a forward pass: a quantisation policy whose products are somebody else's
// business.
#pragma once

#include <fpf/quant/quant_scheme.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace fpf::checkpoint {

/// Computes the products of the layers under observation, and learns from what they are given.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  /// x [..., in] -> [..., out]. Called once a layer and forward pass, in the order of the pass.
  virtual at::Tensor product(const quant::LinearSpec& layer, const at::Tensor& x) = 0;
};

/// A model's tensors without the weights of the layers under observation. `base` and `observer` must outlive
/// it.
class ObservedSource : public weights::TensorSource {
 public:
  /// `layers`: names without ".weight".
  ObservedSource(const weights::TensorSource& base, const std::vector<std::string>& layers, LinearObserver& observer)
      : base_(base), observer_(observer) {
    std::vector<std::string> hidden;
    for (const auto& layer : layers) hidden.push_back(layer + ".weight");
    std::ranges::sort(hidden);
    observed_.insert(layers.begin(), layers.end());
    add_files_of(base);
    for (const auto& name : base.names())
      if (!std::ranges::binary_search(hidden, name)) add(*base.find(name));
  }

  void read(const weights::StoredTensor& tensor, std::size_t first_byte, std::span<std::byte> out) const override {
    base_.read(*base_.find(tensor.name), first_byte, out);
  }
  LinearObserver& observer() const { return observer_; }
  bool observes(const std::string& layer) const { return observed_.contains(layer); }

 private:
  const weights::TensorSource& base_;
  LinearObserver& observer_;
  std::set<std::string> observed_;
};

/// The policy: layers hold nothing but their observer, so that a model of any size passes through layer by
/// layer.
struct Observed {
  static constexpr std::string_view name = "observed";

  struct Weight {
    LinearObserver* observer = nullptr;
    quant::LinearSpec layer;
  };

  static bool stores(const weights::TensorSource& source, const std::string& layer) {
    return dynamic_cast<const ObservedSource&>(source).observes(layer);
  }
  static Weight load(const quant::Loader& loader, const quant::LinearSpec& spec) {
    return {&dynamic_cast<const ObservedSource&>(loader.source).observer(), spec};
  }
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) {
    return weight.observer->product(weight.layer, x);
  }
  static at::Tensor dequantise(const Weight& weight, at::ScalarType) {
    throw std::logic_error("the observed layer " + weight.layer.name + " holds no weights");
  }
  static std::size_t bytes(const Weight&) { return 0; }
};

static_assert(quant::QuantScheme<Observed>);

}  // namespace fpf::checkpoint
