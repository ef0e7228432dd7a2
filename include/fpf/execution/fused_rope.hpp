// RMSNorm of each head and rotary position embedding in one pass.
#pragma once

#include <fpf/execution/execution.hpp>
#include <fpf/execution/fused_norm.hpp>

namespace fpf::execution {

/// x [batch, tokens, heads, d] -> [batch, heads, tokens, d], a view of memory in x's order: RMSNorm over d
/// (skipped when weight is undefined), then RoPE by halves, in float32 and rounded once.
inline at::Tensor fused_head_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps,
                                       const RopeTable& rope) {
  const at::Tensor in = x.contiguous(), cosines = rope.cos.contiguous(), sines = rope.sin.contiguous();
  const std::int64_t tokens = in.size(1), heads = in.size(2), d = in.size(3), half = d / 2;
  at::Tensor out = at::empty(in.sizes(), in.options());
  with_element_type(in.scalar_type(), [&]<class T>() {
    const T* const from = in.const_data_ptr<T>();
    T* const to = out.data_ptr<T>();
    std::vector<float> wide_weight(static_cast<std::size_t>(d));
    if (weight.defined()) widen(weight.const_data_ptr<T>(), wide_weight.data(), d);
    for_rows(in.size(0) * tokens * heads, d, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(d)), turned(row);
      for (std::int64_t r = begin; r < end; ++r) {
        widen(from + r * d, row.data(), d);
        if (weight.defined()) detail::normalise(row, wide_weight.data(), static_cast<float>(eps));
        const T* const cos = cosines.const_data_ptr<T>() + r / heads % tokens * d;
        const T* const sin = sines.const_data_ptr<T>() + r / heads % tokens * d;
        const float *const low = row.data(), *const high = low + half;
        for (std::int64_t i = 0; i < half; ++i) {
          turned[static_cast<std::size_t>(i)] =
              low[i] * static_cast<float>(cos[i]) - high[i] * static_cast<float>(sin[i]);
          turned[static_cast<std::size_t>(half + i)] =
              high[i] * static_cast<float>(cos[half + i]) + low[i] * static_cast<float>(sin[half + i]);
        }
        narrow(turned.data(), to + r * d, d);
      }
    });
  });
  return out.transpose(1, 2);
}

}  // namespace fpf::execution
