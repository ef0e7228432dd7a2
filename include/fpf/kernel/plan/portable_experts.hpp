// Plans for the experts in the portable order.
#pragma once

#include <fpf/kernel/plan/portable.hpp>

namespace fpf::kernel {

/// RouteParams.
inline Plan plan_portable_route(const MoeShape& m) {
  return detail::portable_plan("portable/moe.cuh", "portable_route",
                               {{"Experts", m.experts}, {"TopK", m.top_k}, {"Renormalise", m.renormalise}}, 1, 1,
                               threads_of::warp);
}

/// The chosen experts of few rows. PortableMoe; gate_up's second axis is rows * top_k.
inline Plan plan_portable_gate_up(const WeightFormat& format, DType dtype, const MoeShape& m) {
  const int lanes = detail::portable_lanes(m.hidden), groups = std::max(1, 128 / lanes), each = 2;
  Plan plan = detail::portable_plan("portable/moe.cuh", "portable_gate_up",
                                    {{"Weight", format.type(m.hidden, dtype)},
                                     {"Intermediate", m.intermediate},
                                     {"TopK", m.top_k},
                                     {"Lanes", lanes},
                                     {"Groups", groups},
                                     {"PerThread", each}},
                                    detail::blocks(m.intermediate, groups * each), 2, lanes * groups);
  plan.grid.y = static_cast<unsigned>(m.top_k);
  plan.shared_fixed = static_cast<unsigned>(portable_stage_bytes(m.hidden, 2 * groups * each));
  plan.max_rows = portable_few_rows;
  return plan;
}
inline Plan plan_portable_down(const WeightFormat& format, DType dtype, const MoeShape& m) {
  const int threads = rounded_up(m.top_k * portable::blocks_of(m.intermediate), 32);
  const int each = threads > 256 || format.is_dense() ? 4 : 8;
  if (threads > 1024)
    fail("{} experts of {} intermediate features a token: the portable kernel takes {} products at most", m.top_k,
         m.intermediate, 1024 * portable::block);
  Plan plan = detail::portable_plan("portable/moe.cuh", "portable_down",
                                    {{"Weight", format.type(m.intermediate, dtype)},
                                     {"T", device_type(dtype)},
                                     {"Hidden", m.hidden},
                                     {"TopK", m.top_k},
                                     {"Threads", threads},
                                     {"PerThread", each}},
                                    detail::blocks(m.hidden, each), 2, threads);
  plan.shared_fixed = static_cast<unsigned>(portable_down_bytes(m.intermediate, m.top_k, each));
  plan.max_rows = portable_few_rows;
  return plan;
}

/// What many rows need around the experts' products: PortableGroups, ElementwiseParams, PortableMoe.
inline Plan plan_portable_group(int experts) {
  return detail::portable_plan("portable/moe.cuh", "portable_group", {{"Experts", experts}}, 1, 0,
                               threads_of::portable_group);
}
inline Plan plan_portable_silu_mul(long long count) {
  return detail::portable_plan("portable/moe.cuh", "portable_silu_mul", {},
                               detail::blocks(count, threads_of::portable_values), 0, threads_of::portable_values);
}
inline Plan plan_portable_experts_sum(DType dtype, const MoeShape& m) {
  return detail::portable_plan("portable/moe.cuh", "portable_experts_sum",
                               {{"T", device_type(dtype)}, {"Hidden", m.hidden}, {"TopK", m.top_k}}, 1, 1,
                               threads_of::portable_values);
}

}  // namespace fpf::kernel
