// The contract of quantisation policies: how a linear layer is stored, loaded and applied.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <fpf/core/stated.hpp>
#include <fpf/quant/linear_spec.hpp>
#include <fpf/quant/stored_form.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fpf::quant {

/// Where weights come from and in what form the model wants them.
struct Loader {
  const weights::TensorSource& source;
  const nlohmann::json& quantization;  // config.json's quantization_config, or null
  at::ScalarType dtype;                // of activations, and of weights that are not quantised
  at::Device device;
  bool keeps_values = false;  // of quantised weights: nothing is rounded to `dtype` to be stacked (portable execution)
};

// The parts of a quantisation policy, one concept each, so that what is missing can be named.
template <class Q>
concept HasName = requires {
  { Q::name } -> std::convertible_to<std::string_view>;
};
template <class Q>
concept HasWeight = std::movable<typename Q::Weight>;
template <class Q>
concept HasLoad = requires(const Loader& loader, const LinearSpec& spec) {
  { Q::load(loader, spec) } -> std::same_as<typename Q::Weight>;
};
template <class Q>
concept HasLinear = requires(const at::Tensor& x, const typename Q::Weight& weight) {
  { Q::linear(x, weight) } -> std::same_as<at::Tensor>;
};
template <class Q>
concept HasDequantise = requires(const typename Q::Weight& weight, at::ScalarType dtype) {
  { Q::dequantise(weight, dtype) } -> std::same_as<at::Tensor>;
};
template <class Q>
concept HasBytes = requires(const typename Q::Weight& weight) {
  { Q::bytes(weight) } -> std::convertible_to<std::size_t>;
};

/// Whether layer `name` is stored in the policy's format; what is not is loaded as it stands, dense. A policy that does
/// not say takes every layer.
template <class Q>
bool stores(const weights::TensorSource& source, const std::string& name) {
  if constexpr (requires { Q::stores(source, name); }) return Q::stores(source, name);
  return true;
}

/// Whether a policy's products are, by its own statement, those of its dequantised weights.
template <class Q>
constexpr bool dequantises() {
  if constexpr (requires { Q::dequantises.value; }) return states<Q>(Q::dequantises) && Q::dequantises.value;
  return false;
}

/// Whether what derives from another policy goes by a name of its own.
template <class Q>
constexpr bool has_own_name() {
  if constexpr (requires { Q::dequantises; }) return is_named_apart<Q>(Q::dequantises);
  return true;
}

/// A quantisation policy:
///   name               "none", "awq", "gptq", "bnb": variable_value of experiment 3 and a part of the manifest
///   Weight             a loaded linear layer or a shard of one
///   load(loader, spec) reads and validates it; throws Error by name for what does not fit
///   linear(x, w)       [..., in] -> [..., out] in x's dtype
///   dequantise(w, t)   [out, in] in dtype t: the values that linear() stands for
///   bytes(w)           memory the weight holds
///   stores(source, name)  optional: whether a checkpoint has that layer in this format; what it has not is dense
///   dequantises        optional, Stated<Policy, bool>: linear() is libtorch's of dequantise() in x's dtype, and
///                      pack(), the form on a GPU, stands for both. A policy without this is refused on a GPU
/// A policy may derive from another to override a part. Statements are not inherited (core/stated.hpp), and it needs a
/// name of its own.
template <class Q>
concept QuantScheme = HasName<Q> && HasWeight<Q> && HasLoad<Q> && HasLinear<Q> && HasDequantise<Q> && HasBytes<Q>;

/// Fails to compile with a sentence for every part that a policy lacks.
template <class Q>
struct Require {
  static_assert(HasName<Q>, "fpf: a quantisation policy needs `static constexpr std::string_view name`");
  static_assert(has_own_name<Q>(), "fpf: a quantisation policy that derives from another needs a `name` of its own");
  static_assert(HasWeight<Q>, "fpf: a quantisation policy needs a movable type `Weight`");
  static_assert(HasLoad<Q>, "fpf: a quantisation policy needs `static Weight load(const Loader&, const LinearSpec&)`");
  static_assert(HasLinear<Q>,
                "fpf: a quantisation policy needs `static at::Tensor linear(const at::Tensor& x, const Weight&)`");
  static_assert(HasDequantise<Q>,
                "fpf: a quantisation policy needs `static at::Tensor dequantise(const Weight&, at::ScalarType)`");
  static_assert(HasBytes<Q>, "fpf: a quantisation policy needs `static std::size_t bytes(const Weight&)`");
};

}  // namespace fpf::quant
