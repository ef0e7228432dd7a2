// Experts over many tokens on a GPU: tokens sorted by expert, one grouped product a projection.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/_grouped_mm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/empty_like.h>

#include <fpf/execution/execution.hpp>
#include <fpf/model/layer.hpp>

#include <optional>
#include <tuple>

namespace fpf::model {

namespace detail {

/// [experts, n, k] in `dtype`: one projection of all experts, dequantised into one buffer.
template <class Quant, class Projection>
at::Tensor stacked(const std::vector<Mlp<Quant>>& experts, Projection projection, const at::TensorOptions& options) {
  const quant::DeviceMatrix& first = projection(experts.front()).on_device();
  at::Tensor out = at::empty({static_cast<std::int64_t>(experts.size()), first.n, first.k}, options);
  for (std::size_t e = 0; e < experts.size(); ++e) {
    at::Tensor slot = out.select(0, static_cast<std::int64_t>(e));
    projection(experts[e]).on_device().dense_into(slot);
  }
  return out;
}

/// rows [tokens, k] sorted by expert times matrices [experts, n, k]: ends[e] is the first row after expert e's. Hopper has
/// a grouped product for bfloat16; elsewhere each expert's rows are a product of their own.
inline at::Tensor grouped_product(const at::Tensor& rows, const at::Tensor& matrices, const at::Tensor& ends, bool hopper) {
  if (hopper && rows.scalar_type() == at::kBFloat16)
    return at::_grouped_mm(rows, matrices.transpose(1, 2), ends);
  at::Tensor out = at::empty({rows.size(0), matrices.size(1)}, rows.options());
  const at::Tensor host = ends.cpu();
  std::int64_t begin = 0;
  for (std::int64_t e = 0; e < matrices.size(0); ++e) {
    const std::int64_t end = host.const_data_ptr<int>()[e];
    if (end > begin)
      out.narrow(0, begin, end - begin).copy_(at::matmul(rows.narrow(0, begin, end - begin), matrices.select(0, e).t()));
    begin = end;
  }
  return out;
}

}  // namespace detail

/// rows [tokens, hidden] through their chosen experts, weighted and summed per token in the order of the choice, without
/// atomics: each token gathers its k results.
template <class Quant, class Execution>
at::Tensor grouped_experts(const std::vector<Mlp<Quant>>& experts, const at::Tensor& rows, const execution::Routing& routing,
                           bool hopper) {
  const std::int64_t tokens = rows.size(0), k = routing.expert_ids.size(1);
  const at::Tensor ids = routing.expert_ids.reshape({-1});
  const at::Tensor order = std::get<1>(at::sort(ids, /*stable=*/std::optional<bool>(true), 0, false));  // [tokens * k]
  const at::Tensor counts = at::bincount(ids, {}, static_cast<std::int64_t>(experts.size()));
  const at::Tensor ends = at::cumsum(counts, 0).to(at::kInt);
  const at::Tensor sorted = rows.index_select(0, order.div(k, "floor"));
  const auto options = rows.options();
  at::Tensor gate = detail::grouped_product(
      sorted, detail::stacked(experts, [](const Mlp<Quant>& m) -> const Linear<Quant>& { return m.gate; }, options), ends, hopper);
  const at::Tensor up = detail::grouped_product(
      sorted, detail::stacked(experts, [](const Mlp<Quant>& m) -> const Linear<Quant>& { return m.up; }, options), ends, hopper);
  const at::Tensor down = detail::grouped_product(
      Execution::silu_mul(gate, up),
      detail::stacked(experts, [](const Mlp<Quant>& m) -> const Linear<Quant>& { return m.down; }, options), ends, hopper);
  at::Tensor place = at::empty_like(order);
  place.index_copy_(0, order, at::arange(tokens * k, order.options()));  // where each (token, choice) stands among the sorted
  const at::Tensor chosen = down.index_select(0, place).view({tokens, k, -1});
  return (chosen * routing.weights.to(rows.scalar_type()).unsqueeze(2)).sum(1);
}

}  // namespace fpf::model
