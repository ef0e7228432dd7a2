// The contract of attention policies.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
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

/// An attention policy:
///   name                    "flash_attention_2", "eager": variable_value of experiment 4
///   attend(q, k, v, scale)  q [batch, heads, tokens, head_dim], k and v [batch, kv_heads, length, head_dim] ->
///                           [batch, tokens, heads, head_dim] in q's dtype. Causal: the tokens are the last of `length`
///                           positions, each sees itself and what came before; head h reads kv head
///                           h / (heads / kv_heads).
///   kernel(device, dtype)   optional: the kernel behind attend, for the manifest
///   decode_form             optional, needed to decode on a GPU: which of its kernels stands for attend there
template <class A>
concept AttentionKernel = HasName<A> && HasAttend<A>;

/// Fails to compile with a sentence for every part that a policy lacks.
template <class A>
struct Require {
  static_assert(HasName<A>, "fpf: an attention policy needs `static constexpr std::string_view name`");
  static_assert(HasAttend<A>,
                "fpf: an attention policy needs `static at::Tensor attend(const at::Tensor& q, const "
                "at::Tensor& k, const at::Tensor& v, double scale)`");
};

}  // namespace fpf::attention
