// Experts over many tokens on a GPU: tokens sorted by expert, one grouped product a projection.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sort.h>

#if __has_include(<ATen/ops/_grouped_mm.h>)  // libtorch 2.8 and later
#include <ATen/ops/_grouped_mm.h>
#define FPF_HAS_GROUPED_MM
#endif

#include <fpf/execution/gpu_operators.hpp>
#include <fpf/model/weights.hpp>
#include <optional>
#include <tuple>

namespace fpf::engine {

/// Whether experts' products are one launch: Hopper has a grouped product for bfloat16.
inline bool groups_products([[maybe_unused]] at::ScalarType dtype, [[maybe_unused]] bool hopper) {
#ifdef FPF_HAS_GROUPED_MM
  return hopper && dtype == at::kBFloat16;
#else
  return false;
#endif
}

namespace detail {

/// [experts, n, k] in the options' dtype: projection 0 (gate), 1 (up) or 2 (down) of all experts,
/// dequantised.
inline at::Tensor stacked(const at::Tensor& expert_table, const quant::PackedMatrix& first, int projection,
                          const at::TensorOptions& options) {
  const std::int64_t experts = expert_table.size(0);
  at::Tensor out = at::empty({experts, first.n, first.k}, options);
  const auto plan =
      kernel::plan_dequantise_stack(first.format, device::dtype_of(out.scalar_type()), static_cast<int>(first.n),
                                    static_cast<int>(first.k), static_cast<int>(experts));
  const kernel::Operation operation(device::kernels(out.device()), plan);
  operation(device::current_stream(out.device()),
            kernel::StackParams{static_cast<const kernel::Expert*>(expert_table.const_data_ptr()), out.data_ptr(),
                                static_cast<int>(first.n), projection});
  return out;
}

/// Where each expert's rows end among the sorted: on the device for a grouped product, on the host for one at
/// a time.
struct Groups {
  at::Tensor ends;  // [experts] int32
  bool grouped;

  Groups(const at::Tensor& device_ends, at::ScalarType dtype, bool hopper)
      : ends(device_ends), grouped(groups_products(dtype, hopper)) {
    if (!grouped) ends = ends.cpu();
  }
};

/// rows [tokens, k] sorted by expert times matrices [experts, n, k].
inline at::Tensor grouped_product(const at::Tensor& rows, const at::Tensor& matrices, const Groups& groups) {
#ifdef FPF_HAS_GROUPED_MM
  if (groups.grouped) return at::_grouped_mm(rows, matrices.transpose(1, 2), groups.ends);
#endif
  at::Tensor out = at::empty({rows.size(0), matrices.size(1)}, rows.options());
  std::int64_t begin = 0;
  for (std::int64_t e = 0; e < matrices.size(0); ++e) {
    const std::int64_t end = groups.ends.const_data_ptr<int>()[e];
    if (end > begin) {
      at::Tensor slot = out.narrow(0, begin, end - begin);
      at::mm_out(slot, rows.narrow(0, begin, end - begin), matrices.select(0, e).t());
    }
    begin = end;
  }
  return out;
}

}  // namespace detail

/// rows [tokens, hidden] through those of their chosen experts that this rank holds, weighted and summed per token in
/// the order of the experts, as the CPU does and without atomics: each token gathers its k results.
inline at::Tensor grouped_experts(const model::Layer& layer, const at::Tensor& rows, const execution::Routing& routing,
                                  bool hopper) {
  const std::int64_t tokens = rows.size(0), k = routing.expert_ids.size(1);
  const bool all_held = !layer.own_place.defined();
  const at::Tensor chosen_ids = routing.expert_ids.reshape({-1});
  const at::Tensor ids = all_held ? chosen_ids : layer.own_place.index_select(0, chosen_ids);  // others' come last
  const at::Tensor order = std::get<1>(at::sort(ids, /*stable=*/std::optional<bool>(true), 0, false));  // [tokens * k]
  const auto held = static_cast<std::int64_t>(layer.experts.size());
  const at::Tensor counts = at::bincount(ids, {}, held + (all_held ? 0 : 1)).narrow(0, 0, held);
  const detail::Groups groups(at::cumsum(counts, 0).to(at::kInt), rows.scalar_type(), hopper);
  const at::Tensor sorted = rows.index_select(0, order.div(k, "floor"));
  const model::Mlp& first = layer.experts.front();
  const auto product = [&](const at::Tensor& x, const model::Linear& like, int projection) {
    return detail::grouped_product(x, detail::stacked(layer.own_table, like.packed(), projection, rows.options()),
                                   groups);
  };
  const at::Tensor gate = product(sorted, first.gate, 0), up = product(sorted, first.up, 1);
  const at::Tensor down = product(execution::gpu::silu_mul(gate, up), first.down, 2);
  at::Tensor place = at::empty_like(order);
  place.index_copy_(0, order,
                    at::arange(tokens * k, order.options()));  // where each (token, choice) stands among the sorted
  const at::Tensor by_id = at::argsort(routing.expert_ids, std::int64_t{1});
  at::Tensor chosen = down.index_select(0, place.view({tokens, k}).gather(1, by_id).view({-1})).view({tokens, k, -1});
  if (!all_held)  // rows of others' experts were not computed
    chosen = chosen.masked_fill(ids.view({tokens, k}).gather(1, by_id).eq(held).unsqueeze(2), 0);
  const at::Tensor weights = routing.weights.to(rows.scalar_type()).gather(1, by_id);
  const at::Tensor weighted = chosen * weights.unsqueeze(2);
  at::Tensor out = weighted.select(1, 0);
  for (std::int64_t i = 1; i < k; ++i) out = out + weighted.select(1, i);
  return out;
}

}  // namespace fpf::engine
