// The contract of attention policies.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <fpf/core/stated.hpp>
#include <fpf/kernel/plan/shapes.hpp>
#include <optional>
#include <string_view>

namespace fpf::attention {

template <class A>
concept HasName = requires {
  { A::name } -> std::convertible_to<std::string_view>;
};
template <class A>
concept HasAttend = requires(const at::Tensor& t, double scale) {
  { A::attend(t, t, t, scale) } -> std::same_as<at::Tensor>;
};

/// The kernel behind attend, for the manifest.
using KernelName = std::string_view (*)(at::Device, at::ScalarType);

/// Whether a policy states which of the GPU's decode kernels stands for its attend there.
template <class A>
constexpr bool decodes_on_gpu() {
  if constexpr (requires { A::decode_form.value; }) return states<A>(A::decode_form);
  return false;
}

/// Whether what derives from another policy goes by a name of its own.
template <class A>
constexpr bool has_own_name() {
  if constexpr (requires { A::decode_form; }) return is_named_apart<A>(A::decode_form);
  return true;
}

/// An attention policy:
///   name                    "flash_attention_2", "eager": variable_value of experiment 4
///   attend(q, k, v, scale)  q [batch, heads, tokens, head_dim], k and v [batch, kv_heads, length, head_dim] ->
///                           [batch, tokens, heads, head_dim] in q's dtype. Causal: the tokens are the last of `length`
///                           positions, each sees itself and what came before; head h reads kv head
///                           h / (heads / kv_heads).
///   kernel                  optional, Stated<Policy, KernelName>: the kernel behind attend, for the manifest
///   decode_form             optional, Stated<Policy, kernel::AttentionForm>: which of a GPU's decode kernels stands
///                           for attend there. attend is called on a GPU for a prompt alone, so a policy without this
///                           is refused there
/// A policy may derive from another to override attend. Statements are not inherited (core/stated.hpp), and it needs a
/// name of its own.
template <class A>
concept AttentionKernel = HasName<A> && HasAttend<A>;

/// Fails to compile with a sentence for every part that a policy lacks.
template <class A>
struct Require {
  static_assert(HasName<A>, "fpf: an attention policy needs `static constexpr std::string_view name`");
  static_assert(has_own_name<A>(), "fpf: an attention policy that derives from another needs a `name` of its own");
  static_assert(HasAttend<A>,
                "fpf: an attention policy needs `static at::Tensor attend(const at::Tensor& q, const "
                "at::Tensor& k, const at::Tensor& v, double scale)`");
};

/// A policy as a value.
struct Kernel {
  std::string_view name;
  at::Tensor (*attend)(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);
  KernelName kernel;                                      // the kernel behind attend; nullptr: not stated
  std::optional<fpf::kernel::AttentionForm> decode_form;  // which of a GPU's decode kernels stands for attend
};

/// The value of a policy, one for the whole program.
template <class A>
const Kernel& kernel() {
  static_assert(sizeof(Require<A>));
  static const Kernel value = [] {
    Kernel out{A::name, A::attend, nullptr, std::nullopt};
    if constexpr (requires { A::kernel.value; })
      if constexpr (states<A>(A::kernel)) out.kernel = A::kernel.value;
    if constexpr (decodes_on_gpu<A>()) out.decode_form = A::decode_form.value;
    return out;
  }();
  return value;
}

}  // namespace fpf::attention
