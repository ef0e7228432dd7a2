// Element-wise chains fused into one pass each, as a compiler of decode steps does it.
#pragma once

#include <fpf/execution/execution.hpp>
#include <fpf/execution/fused_norm.hpp>
#include <fpf/execution/fused_rope.hpp>
#include <fpf/execution/fused_route.hpp>
#include <fpf/execution/fused_silu_mul.hpp>
#include <fpf/execution/names.hpp>

namespace fpf::execution {

/// What torch.compile makes of these chains: intermediates stay in float32 and each chain rounds once, at its
/// end, where separate operations round after every step. The residual stream is updated in place. On a GPU
/// that is the decode step (engine/decode_step.hpp, captured as one graph); a prompt goes operation by
/// operation there.
struct Compiled {
  static constexpr std::string_view name = names::compiled;
  static constexpr Stated<Compiled, std::string_view> description{
      "fused with float32 intermediates and one rounding: residual add + norm, head norm + RoPE, SiLU * up, router softmax + "
      "top-k + weights"};
  static constexpr bool fused = true;
  static constexpr Stated<Compiled, Kernels> kernels{{.norm = "fpf fused_add_norm",
                                                      .head_norm_rope = "fpf fused_head_norm_rope",
                                                      .silu_mul = "fpf fused_silu_mul",
                                                      .route = "fpf fused_route"}};
  static constexpr Stated<Compiled, bool> runs_on_gpu{true};

  static at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
    return fused_norm(x, weight, eps);
  }
  static at::Tensor add_norm(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) {
    return fused_add_norm(residual, delta, weight, eps);
  }
  static at::Tensor head_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps, const RopeTable& rope) {
    return fused_head_norm_rope(x, weight, eps, rope);
  }
  static at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) { return fused_silu_mul(gate, up); }
  static Routing route(const at::Tensor& logits, std::int64_t k, bool renormalise) {
    return fused_route(logits, k, renormalise);
  }
};

static_assert(Execution<Compiled>);

}  // namespace fpf::execution
