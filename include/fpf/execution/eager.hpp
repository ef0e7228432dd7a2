// Every operation on its own, results rounded to the activations' dtype in between, as a framework runs them.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>

#include <fpf/execution/execution.hpp>
#include <fpf/execution/names.hpp>
#include <fpf/execution/router_margin.hpp>
#include <fpf/execution/top_k.hpp>

namespace fpf::execution {

/// The operations of transformers' Llama and Qwen3 modelling files, in their order and dtypes.
struct Eager {
  static constexpr std::string_view name = names::eager;
  static constexpr Stated<Eager, Kernels> kernels{{.norm = "libtorch add, pow, mean, rsqrt, mul",
                                                   .head_norm_rope = "libtorch norm as above; cat, mul, add",
                                                   .silu_mul = "libtorch silu, mul",
                                                   .route = "libtorch softmax, fpf top_k, libtorch div"}};
  static constexpr Stated<Eager, bool> runs_on_gpu{true};

  static at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
    const at::Tensor wide = x.to(at::kFloat);
    const at::Tensor variance = wide.pow(2).mean(-1, /*keepdim=*/true);
    return weight * (wide * at::rsqrt(variance + eps)).to(x.scalar_type());
  }

  static at::Tensor add_norm(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) {
    residual = residual + delta;
    return norm(residual, weight, eps);
  }

  static at::Tensor head_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps, const RopeTable& rope) {
    const at::Tensor heads = (weight.defined() ? norm(x, weight, eps) : x).transpose(1, 2);
    const std::int64_t half = heads.size(-1) / 2;
    const at::Tensor rotated = at::cat({heads.narrow(-1, half, half).neg(), heads.narrow(-1, 0, half)}, -1);
    return heads * rope.cos + rotated * rope.sin;
  }

  static at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) { return at::silu(gate) * up; }

  static Routing route(const at::Tensor& logits, std::int64_t k, bool renormalise) {
    const TopK chosen = top_k(at::softmax(logits, -1, at::kFloat), k);
    const at::Tensor weights = renormalise ? chosen.values / chosen.values.sum(-1, true) : chosen.values;
    return {chosen.indices, weights.to(logits.scalar_type()), router_margin(logits, chosen.indices)};
  }
};

static_assert(Execution<Eager>);

}  // namespace fpf::execution
