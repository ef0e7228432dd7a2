// A linear layer as a checkpoint has it: under the model's quantisation, or left out of it.
#pragma once

#include <fpf/quant/none.hpp>

#include <type_traits>
#include <utility>
#include <variant>

namespace fpf::model {

/// Which tensors are present decides what a layer is: quantised checkpoints keep some layers as they were
/// (modules_to_not_convert, the head, router gates).
template <quant::QuantScheme Quant>
class Linear {
 public:
  Linear() = default;

  /// Loads the layer, or the part of it, that `spec` names.
  Linear(const quant::Loader& loader, const quant::LinearSpec& spec) {
    if constexpr (std::is_same_v<Quant, quant::None>) {
      weight_ = quant::None::load(loader, spec);
    } else {
      if (is_dense(loader, spec.name))
        weight_ = quant::None::load(loader, spec);
      else
        weight_ = Quant::load(loader, spec);
    }
  }

  /// A layer that shares a dense matrix [out, in] with something else (a tied head).
  explicit Linear(at::Tensor matrix) : weight_(quant::None::Weight{std::move(matrix)}) {}

  /// [..., in] -> [..., out]
  at::Tensor operator()(const at::Tensor& x) const {
    return visit([&]<class Q>(const typename Q::Weight& weight) { return Q::linear(x, weight); });
  }
  std::size_t bytes() const {
    return visit([&]<class Q>(const typename Q::Weight& weight) { return static_cast<std::size_t>(Q::bytes(weight)); });
  }
  /// [out, in]
  at::Tensor dequantise(at::ScalarType dtype) const {
    return visit([&]<class Q>(const typename Q::Weight& weight) { return Q::dequantise(weight, dtype); });
  }

 private:
  using Dense = quant::None::Weight;
  using Quantised = std::conditional_t<std::is_same_v<Quant, quant::None>, std::monostate, typename Quant::Weight>;

  /// A plain floating-point `.weight`; bitsandbytes keeps its packed codes under the same name, as uint8.
  static bool is_dense(const quant::Loader& loader, const std::string& name) {
    const auto* stored = loader.source.find(name + ".weight");
    return stored != nullptr && (!weights::is_plain(stored->format) || at::isFloatingType(quant::scalar_type(stored->dtype())));
  }

  template <class F>
  auto visit(F f) const {
    if constexpr (!std::is_same_v<Quant, quant::None>)
      if (const auto* quantised = std::get_if<Quantised>(&weight_)) return f.template operator()<Quant>(*quantised);
    return f.template operator()<quant::None>(std::get<Dense>(weight_));
  }

  std::variant<Dense, Quantised> weight_;
};

}  // namespace fpf::model
