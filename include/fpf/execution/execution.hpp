// The contract of execution policies: how the element-wise chains between matrix products are carried out.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <fpf/core/stated.hpp>
#include <optional>
#include <string_view>

namespace fpf::execution {

/// What a router decided for a batch of rows.
struct Routing {
  at::Tensor expert_ids;  // [rows, k] int64, by descending weight, ties by the lower id
  at::Tensor weights;     // [rows, k] in the activations' dtype
  at::Tensor margin;      // [rows] float32: least logit of the chosen less the greatest of the rejected
};

/// Cosines and sines of the positions at hand: each [tokens, head_dim] in the activations' dtype, the two halves equal.
struct RopeTable {
  at::Tensor cos;
  at::Tensor sin;
};

struct Portable;

/// What carries out a policy's operators on the CPU, for the manifest: "libtorch F", or a function of fpf's.
struct Kernels {
  std::string_view norm, head_norm_rope, silu_mul, route;
};

template <class X>
concept HasName = requires {
  { X::name } -> std::convertible_to<std::string_view>;
};
template <class X>
concept HasNorm = requires(const at::Tensor& t, at::Tensor& residual, double eps) {
  { X::norm(t, t, eps) } -> std::same_as<at::Tensor>;
  { X::add_norm(residual, t, t, eps) } -> std::same_as<at::Tensor>;
};
template <class X>
concept HasRope = requires(const at::Tensor& t, const RopeTable& rope, double eps) {
  { X::head_norm_rope(t, t, eps, rope) } -> std::same_as<at::Tensor>;
};
template <class X>
concept HasSiluMul = requires(const at::Tensor& t) {
  { X::silu_mul(t, t) } -> std::same_as<at::Tensor>;
};
template <class X>
concept HasRoute = requires(const at::Tensor& t, std::int64_t k, bool renormalise) {
  { X::route(t, k, renormalise) } -> std::same_as<Routing>;
};

/// Whether a policy is the portable one, whose decoder is its own: it has none of the operators.
template <class X>
constexpr bool is_portable() {
  return std::same_as<X, Portable>;
}

/// Whether fpf's GPU kernels stand for a policy's operators, by its own statement.
template <class X>
constexpr bool runs_on_gpu() {
  if constexpr (requires { X::runs_on_gpu.value; }) return states<X>(X::runs_on_gpu) && X::runs_on_gpu.value;
  return is_portable<X>();
}

/// What a policy's name stands for, as it states; empty where it does not.
template <class X>
constexpr std::string_view description_of() {
  if constexpr (requires { X::description.value; })
    if (states<X>(X::description)) return X::description.value;
  return {};
}

/// Whether what derives from another policy goes by a name of its own.
template <class X>
constexpr bool has_own_name() {
  if constexpr (requires { X::runs_on_gpu; }) return is_named_apart<X>(X::runs_on_gpu);
  return true;
}

/// Whether a policy fuses; it need not say so if it does not.
template <class X>
constexpr bool is_fused() {
  if constexpr (requires { X::fused; }) return X::fused;
  return false;
}

/// An execution policy:
///   name                              "eager", "compiled", "portable"
///   norm(x, w, eps)                   RMSNorm over the last dimension, times w
///   add_norm(residual, delta, w, eps) residual += delta, returns norm(residual)
///   head_norm_rope(x, w, eps, rope)   x [batch, tokens, heads, head_dim] -> [batch, heads, tokens, head_dim]: RMSNorm
///                                     over head_dim (skipped when w is undefined), then RoPE by halves
///   silu_mul(gate, up)                silu(gate) * up
///   route(logits, k, renormalise)     logits [rows, experts] -> the chosen k
///   fused                             optional: true where chains keep float32 intermediates; on a GPU the decode step
///                                     is then fused and captured
///   runs_on_gpu                       optional, Stated<Policy, bool>: fpf's GPU kernels compute what the operators do,
///                                     each operation rounded, or in chains where `fused`. None is called on a GPU: a
///                                     policy without this is refused there
///   kernels, description              optional, Stated<Policy, Kernels> and Stated<Policy, std::string_view>, for the
///                                     manifest: what carries the operators out, what the policy does
/// Portable alone has none of the operators: its decoder is its own.
///
/// A policy may derive from another to override some of its operators. Statements are not inherited (core/stated.hpp),
/// and it needs a name of its own.
///
/// add_norm may write the sum into `residual`'s memory or give it new memory: who keeps a residual copies it.
template <class X>
concept Execution = HasName<X> &&(is_portable<X>() || (HasNorm<X> && HasRope<X> && HasSiluMul<X> && HasRoute<X>));

/// Fails to compile with a sentence for every part that a policy lacks.
template <class X>
struct Require {
  static_assert(HasName<X>, "fpf: an execution policy needs `static constexpr std::string_view name`");
  static_assert(has_own_name<X>(), "fpf: an execution policy that derives from another needs a `name` of its own");
  static_assert(is_portable<X>() || HasNorm<X>,
                "fpf: an execution policy needs `norm(x, weight, eps)` and `add_norm(residual, delta, weight, eps)`");
  static_assert(is_portable<X>() || HasRope<X>,
                "fpf: an execution policy needs `head_norm_rope(x, weight, eps, rope)`");
  static_assert(is_portable<X>() || HasSiluMul<X>, "fpf: an execution policy needs `silu_mul(gate, up)`");
  static_assert(is_portable<X>() || HasRoute<X>,
                "fpf: an execution policy needs `Routing route(logits, k, renormalise)`");
};

/// A policy as a value. Portable has no operators: its are nullptr.
struct Policy {
  std::string_view name, description;
  bool fused = false, portable = false, runs_on_gpu = false;
  std::optional<Kernels> kernels{};  // what carries the operators out on the CPU, where the policy states it
  at::Tensor (*norm)(const at::Tensor& x, const at::Tensor& weight, double eps) = nullptr;
  at::Tensor (*add_norm)(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) = nullptr;
  at::Tensor (*head_norm_rope)(const at::Tensor& x, const at::Tensor& weight, double eps,
                               const RopeTable& rope) = nullptr;
  at::Tensor (*silu_mul)(const at::Tensor& gate, const at::Tensor& up) = nullptr;
  Routing (*route)(const at::Tensor& logits, std::int64_t k, bool renormalise) = nullptr;
};

/// The value of a policy, one for the whole program.
template <class X>
const Policy& policy() {
  static_assert(sizeof(Require<X>));
  static const Policy value = [] {
    Policy out{X::name, description_of<X>(), is_fused<X>(), is_portable<X>(), fpf::execution::runs_on_gpu<X>()};
    if constexpr (requires { X::kernels.value; })
      if constexpr (states<X>(X::kernels)) out.kernels = X::kernels.value;
    if constexpr (!is_portable<X>()) {
      out.norm = X::norm;
      out.add_norm = X::add_norm;
      out.head_norm_rope = X::head_norm_rope;
      out.silu_mul = X::silu_mul;
      out.route = X::route;
    }
    return out;
  }();
  return value;
}

}  // namespace fpf::execution
