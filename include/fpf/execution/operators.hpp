// An execution policy's operators wherever the tensors lie.
#pragma once

#include <fpf/execution/execution.hpp>
#include <fpf/execution/gpu_operators.hpp>

namespace fpf::execution {

/// On the CPU a policy computes them itself. On a GPU they are fpf's kernels, one an operation, rounded after each: so
/// a prompt goes under every policy; decode steps are engine/decode_step.hpp's. Between them the decoder joins norm and
/// RoPE of the heads with the cache (gpu_attention.hpp), so that is none of them.
class Operators {
 public:
  explicit Operators(const Policy& policy) : policy_(&policy) {}

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) const {
    return x.is_cuda() ? gpu::norm(x, weight, eps) : policy_->norm(x, weight, eps);
  }
  at::Tensor add_norm(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) const {
    return residual.is_cuda() ? gpu::add_norm(residual, delta, weight, eps)
                              : policy_->add_norm(residual, delta, weight, eps);
  }
  at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) const {
    return gate.is_cuda() ? gpu::silu_mul(gate, up) : policy_->silu_mul(gate, up);
  }
  Routing route(const at::Tensor& logits, std::int64_t k, bool renormalise) const {
    return logits.is_cuda() ? gpu::route(logits, k, renormalise) : policy_->route(logits, k, renormalise);
  }
  /// On the CPU alone.
  at::Tensor head_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps, const RopeTable& rope) const {
    return policy_->head_norm_rope(x, weight, eps, rope);
  }

 private:
  const Policy* policy_;
};

}  // namespace fpf::execution
