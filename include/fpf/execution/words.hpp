// An execution policy's words wherever the tensors lie.
#pragma once

#include <fpf/execution/execution.hpp>
#include <fpf/execution/gpu_words.hpp>

namespace fpf::execution {

/// On the CPU a policy carries its words out itself. On a GPU they are fpf's kernels, one an operation, rounded after each:
/// so a prompt goes under every policy; decode steps are kernel/decode_step.hpp's. Between them the decoder joins norm and
/// RoPE of the heads with the cache (gpu_attention.hpp), so that is no word here.
template <class Policy>
struct Words {
  static at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
    return x.is_cuda() ? gpu::norm(x, weight, eps) : Policy::norm(x, weight, eps);
  }
  static at::Tensor add_norm(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) {
    return residual.is_cuda() ? gpu::add_norm(residual, delta, weight, eps)
                              : Policy::add_norm(residual, delta, weight, eps);
  }
  static at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
    return gate.is_cuda() ? gpu::silu_mul(gate, up) : Policy::silu_mul(gate, up);
  }
  static Routing route(const at::Tensor& logits, std::int64_t k, bool renormalise) {
    return logits.is_cuda() ? gpu::route(logits, k, renormalise) : Policy::route(logits, k, renormalise);
  }
};

}  // namespace fpf::execution
