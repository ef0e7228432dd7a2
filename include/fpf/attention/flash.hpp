// Attention in tiles with an online softmax (Dao et al., FlashAttention-2, arXiv:2307.08691), by libtorch's
// kernels.
#pragma once

#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/empty.h>
#include <torch/version.h>

#include <fpf/attention/attention_kernel.hpp>
#include <fpf/core/error.hpp>
#include <fpf/kernel/plan/shapes.hpp>
#include <optional>
#include <tuple>

namespace fpf::attention {

/// libtorch's flash attention, asked for by name, never through a dispatcher that might choose another
/// kernel.
struct Flash {
  static constexpr std::string_view name = "flash_attention_2";
  static constexpr Stated<Flash, kernel::AttentionForm> decode_form{kernel::AttentionForm::split};
  static constexpr Stated<Flash, KernelName> kernel{[](at::Device device, at::ScalarType dtype) -> std::string_view {
    if (device.is_cpu()) return "libtorch _scaled_dot_product_flash_attention_for_cpu";
    return dtype == at::kFloat ? "libtorch _scaled_dot_product_efficient_attention"
                               : "libtorch _scaled_dot_product_flash_attention";
  }};

  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
    const std::int64_t tokens = q.size(2), length = k.size(2);
    if (tokens != 1 && tokens != length)
      throw std::logic_error("flash attention takes the whole prompt or one token at a time");
    const bool causal = tokens > 1;
    if (q.is_cuda()) return on_gpu(q, k, v, causal, scale).transpose(1, 2);
    const std::int64_t copies = reads_kv_heads ? 1 : q.size(1) / k.size(1);
    return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(q, repeated(k, copies), repeated(v, copies), 0.0,
                                                                       causal, std::nullopt, scale))
        .transpose(1, 2);
  }

 private:
  /// Older kernels for the CPU read as many k and v heads as q has, past the end where there are fewer (seen
  /// with libtorch 2.7.1).
  static constexpr bool reads_kv_heads = TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 11;

  static at::Tensor repeated(const at::Tensor& heads, std::int64_t copies) {
    return copies == 1 ? heads : heads.repeat_interleave(copies, 1);
  }

  /// 16-bit activations go through FlashAttention-2's kernel. It takes no float32, which goes through the
  /// memory-efficient kernel (also tiles with an online softmax), with kv heads repeated.
  static at::Tensor on_gpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal, double scale) {
    if (q.scalar_type() != at::kFloat)
      return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, causal, false, scale));
    const std::int64_t group = q.size(1) / k.size(1);
    return std::get<0>(at::_scaled_dot_product_efficient_attention(q, repeated(k, group), repeated(v, group),
                                                                   std::nullopt, false, 0.0, causal, scale));
  }
};

static_assert(AttentionKernel<Flash>);

}  // namespace fpf::attention
