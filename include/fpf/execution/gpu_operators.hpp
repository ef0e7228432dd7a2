// The element-wise operators on a GPU, through fpf's own kernels: any number of rows, any of the three dtypes. Results
// are rounded to the activations' dtype after every operation, as a framework's separate operations are.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <fpf/device/dtype.hpp>
#include <fpf/device/kernels.hpp>
#include <fpf/execution/execution.hpp>
#include <fpf/kernel/plan/ends.hpp>
#include <fpf/kernel/plan/experts.hpp>

namespace fpf::execution::gpu {

namespace detail {

template <class Params>
void launch(const at::Tensor& like, kernel::Plan plan, const Params& params, std::int64_t rows) {
  const kernel::Operation operation(device::kernels(like.device()), std::move(plan));
  operation(device::current_stream(like.device()), params, static_cast<int>(rows));
}

}  // namespace detail

/// RMSNorm over the last dimension of x (+ delta, with the sum written to `sum`), times weight.
inline at::Tensor norm_of_sum(const at::Tensor& x, const at::Tensor* delta, at::Tensor* sum, const at::Tensor& weight,
                              double eps) {
  const at::Tensor rows = x.contiguous();
  const at::Tensor added = delta != nullptr ? delta->contiguous() : at::Tensor();
  at::Tensor out = at::empty_like(rows);
  const std::int64_t k = rows.size(-1);
  detail::launch(rows, kernel::plan_rms_norm(device::dtype_of(rows.scalar_type()), static_cast<int>(k), true),
                 kernel::NormParams{rows.const_data_ptr(), delta != nullptr ? added.const_data_ptr() : nullptr,
                                    sum != nullptr ? sum->data_ptr() : nullptr, weight.const_data_ptr(), out.data_ptr(),
                                    static_cast<float>(eps)},
                 rows.numel() / k);
  return out;
}

/// RMSNorm over the last dimension of x, times weight.
inline at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return norm_of_sum(x, nullptr, nullptr, weight, eps);
}

/// residual += delta in place, and the sum's norm.
inline at::Tensor add_norm(at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight, double eps) {
  at::Tensor sum = at::empty_like(residual);
  at::Tensor out = norm_of_sum(residual, &delta, &sum, weight, eps);
  residual = sum;
  return out;
}

/// silu(gate) * up.
inline at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  const at::Tensor a = gate.contiguous(), b = up.contiguous();
  at::Tensor out = at::empty_like(a);
  detail::launch(a, kernel::plan_elementwise(true, device::dtype_of(a.scalar_type()), a.numel()),
                 kernel::ElementwiseParams{a.const_data_ptr(), b.const_data_ptr(), out.data_ptr(), a.numel()}, 1);
  return out;
}

/// logits [rows, experts] -> the chosen experts, as Execution::route.
inline Routing route(const at::Tensor& logits, std::int64_t k, bool renormalise) {
  const at::Tensor in = logits.contiguous();
  const std::int64_t rows = in.size(0), experts = in.size(1);
  at::Tensor ids = at::empty({rows, k}, in.options().dtype(at::kInt));
  at::Tensor weights = at::empty({rows, k}, in.options().dtype(at::kFloat));
  at::Tensor margin = at::empty({rows}, in.options().dtype(at::kFloat));
  detail::launch(in,
                 kernel::plan_route(device::dtype_of(in.scalar_type()), static_cast<int>(experts), static_cast<int>(k),
                                    renormalise, true),
                 kernel::RouteParams{in.const_data_ptr(), ids.data_ptr<int>(), weights.data_ptr<float>(),
                                     margin.data_ptr<float>(), static_cast<int>(rows)},
                 rows);
  return {ids, weights, margin};
}

}  // namespace fpf::execution::gpu
