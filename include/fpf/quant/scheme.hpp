// A quantisation policy as a value: what a model's layers are loaded by, whatever their format.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>

#include <fpf/quant/packed_matrix.hpp>
#include <fpf/quant/quant_scheme.hpp>
#include <memory>
#include <optional>
#include <vector>

namespace fpf::quant {

/// A loaded linear layer, or a shard of one.
class LoadedLinear {
 public:
  virtual ~LoadedLinear() = default;

  /// [..., in] -> [..., out] in x's dtype, plus `bias` [out] of that dtype unless it is undefined.
  virtual at::Tensor linear(const at::Tensor& x, const at::Tensor& bias) const = 0;
  /// [out, in]: the values that linear() stands for.
  virtual at::Tensor dequantise(at::ScalarType dtype) const = 0;
  virtual std::size_t bytes() const = 0;
  /// Layers of one input, all of this one's policy, as one matrix on their GPU; nothing where no one format has them
  /// all.
  virtual std::optional<PackedMatrix> pack(const std::vector<const LoadedLinear*>& layers,
                                           at::ScalarType dtype) const = 0;
};

/// A policy's name, what it says of itself, and its functions.
struct Scheme {
  std::string_view name;
  bool dequantises;  // its products are, by its own statement, those of its dequantised weights
  bool packs;        // it has a form on a GPU
  bool is_dense;     // None: layers as they stand
  bool (*stores)(const weights::TensorSource& source, const std::string& layer);
  std::unique_ptr<const LoadedLinear> (*load)(const Loader& loader, const LinearSpec& spec);
};

struct None;

namespace detail {

template <class Q>
constexpr bool packs() {
  return requires(const std::vector<const typename Q::Weight*>& weights, at::ScalarType dtype) {
    { Q::pack(weights, dtype) } -> std::same_as<PackedMatrix>;
  };
}

}  // namespace detail

/// A policy's own weight behind LoadedLinear.
template <QuantScheme Q>
class Loaded final : public LoadedLinear {
 public:
  explicit Loaded(typename Q::Weight weight) : weight_(std::move(weight)) {}

  const typename Q::Weight& weight() const { return weight_; }
  /// Where linear() is, by the policy's statement, libtorch's of the dequantised weights, the bias is a part of it, as
  /// nn.Linear has it: one rounding of products and bias. Another policy's result is rounded, then the sum.
  at::Tensor linear(const at::Tensor& x, const at::Tensor& bias) const override {
    if (!bias.defined()) return Q::linear(x, weight_);
    if constexpr (dequantises<Q>())
      return at::linear(x, Q::dequantise(weight_, x.scalar_type()), bias);
    else
      return Q::linear(x, weight_) + bias;
  }
  at::Tensor dequantise(at::ScalarType dtype) const override { return Q::dequantise(weight_, dtype); }
  std::size_t bytes() const override { return Q::bytes(weight_); }

  std::optional<PackedMatrix> pack(const std::vector<const LoadedLinear*>& layers,
                                   at::ScalarType dtype) const override {
    if constexpr (detail::packs<Q>()) {
      std::vector<const typename Q::Weight*> weights;
      for (const LoadedLinear* layer : layers) weights.push_back(&dynamic_cast<const Loaded&>(*layer).weight());
      if (Q::can_stack(weights)) return Q::pack(weights, dtype);
    }
    return std::nullopt;
  }

 private:
  typename Q::Weight weight_;
};

/// The value of a policy, one for the whole program.
template <class Q>
const Scheme& scheme() {
  static_assert(sizeof(Require<Q>));
  static constexpr Scheme value{
      .name = Q::name,
      .dequantises = dequantises<Q>(),
      .packs = detail::packs<Q>(),
      .is_dense = std::same_as<Q, None>,
      .stores = stores<Q>,
      .load = [](const Loader& loader, const LinearSpec& spec) -> std::unique_ptr<const LoadedLinear> {
        return std::make_unique<Loaded<Q>>(Q::load(loader, spec));
      }};
  return value;
}

/// The policy's own weight, where a layer is of that policy; else nullptr.
template <QuantScheme Q>
const typename Q::Weight* weight_if(const LoadedLinear& layer) {
  const auto* own = dynamic_cast<const Loaded<Q>*>(&layer);
  return own == nullptr ? nullptr : &own->weight();
}

}  // namespace fpf::quant
