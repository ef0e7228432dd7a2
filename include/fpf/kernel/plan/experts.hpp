// Plans for the experts: the router's choice, and the chosen experts' MLPs.
#pragma once

#include <fpf/kernel/plan/plan.hpp>
#include <string>

namespace fpf::kernel {

/// route: the kernel chooses from the router's logits itself (one row). round: to the activations' type after
/// each operation.
struct MoeOptions {
  bool route = false;
  bool round = false;
  Arithmetic arithmetic = Arithmetic::tensor_cores;
  int gate_up_warps = 4;  // of a tile, by tensor cores
  int gate_up_tiles = 3;  // of a block, with route
  int down_warps = 2;     // of an expert
  int rows = most_rows;   // at most; fewer leave room for more experts at once
};

/// The router's choice. RouteParams. round: the weights to the activations' type.
inline Plan plan_route(DType dtype, int experts, int top_k, bool renormalise, bool round) {
  if (top_k < 1 || top_k > most_choices || top_k > experts)
    fail("{} of {} experts: the router kernel takes 1 to {}", top_k, experts, most_choices);
  Plan plan = plan_of("experts/router.cuh", "route",
                      {{"T", device_type(dtype)},
                       {"Experts", experts},
                       {"TopK", top_k},
                       {"Renormalise", renormalise},
                       {"Round", round}});
  detail::launch_in_steps(plan, {}, 1, threads_of::warp);
  plan.max_rows = 0;
  plan.bytes_per_row = experts * detail::element_bytes(dtype);
  return plan;
}

namespace detail {

/// gate and up by tensor cores.
inline Plan plan_gate_up_tensor_cores(const WeightFormat& format, DType dtype, const MoeShape& shape,
                                      const MoeOptions& options) {
  const std::string weight = format.type(shape.hidden, dtype), type = device_type(dtype);
  check_tile_type(dtype);
  if (options.route && options.round) fail("experts that choose for themselves do not round after each operation");
  if (shape.intermediate % tile_rows != 0)
    fail("experts of {} intermediate features: expected a multiple of {}", shape.intermediate, tile_rows);
  const bool joint = options.route && !format.permuted;  // gate and up in one tile
  const int warps = options.gate_up_warps;
  int tiles = joint ? options.gate_up_tiles : 1;
  while (joint && shape.intermediate % (half_tile * tiles) != 0) --tiles;
  Plan plan = joint           ? plan_of("experts/moe_one.cuh", "moe_gate_up_one",
                                        {{"Weight", weight},
                                         {"T", type},
                                         {"Intermediate", shape.intermediate},
                                         {"Experts", shape.experts},
                                         {"TopK", shape.top_k},
                                         {"Tiles", tiles},
                                         {"Warps", warps},
                                         {"Renormalise", shape.renormalise}})
              : options.route ? plan_of("experts/moe_one.cuh", "moe_gate_up_one_ordered",
                                        {{"Weight", weight},
                                         {"T", type},
                                         {"Intermediate", shape.intermediate},
                                         {"Experts", shape.experts},
                                         {"TopK", shape.top_k},
                                         {"Warps", warps},
                                         {"Renormalise", shape.renormalise}})
                              : plan_of("experts/moe_rows.cuh", "moe_gate_up_rows",
                                        {{"Weight", weight},
                                         {"T", type},
                                         {"Intermediate", shape.intermediate},
                                         {"TopK", shape.top_k},
                                         {"Warps", warps},
                                         {"Round", options.round}});
  plan.grid = {static_cast<unsigned>(shape.intermediate / (joint ? half_tile * tiles : tile_rows)),
               static_cast<unsigned>(shape.top_k), 1};
  plan.block.x = 32 * static_cast<unsigned>(tiles * warps);
  plan.shared_fixed = static_cast<unsigned>(joint ? tiles : 2) * format.tile_bytes(shape.hidden, dtype);
  plan.shared_per_row = format.staged_bytes(shape.hidden, dtype);
  if (options.route) plan.max_rows = 1;
  return plan;
}

/// gate and up by fused multiply-adds.
inline Plan plan_gate_up_fma(const WeightFormat& format, DType dtype, const MoeShape& shape, bool round) {
  const std::string weight = format.type(shape.hidden, dtype);  // refuses first
  const int lanes = std::min(256, rounded_up(shape.hidden / format.units(dtype).chunk, 32));
  const int groups = lanes >= 128 ? 1 : 128 / lanes, per_thread = format.is_dense() ? 2 : 4;
  Plan plan = plan_of("experts/moe.cuh", "moe_gate_up",
                      {{"Weight", weight},
                       {"T", device_type(dtype)},
                       {"Intermediate", shape.intermediate},
                       {"TopK", shape.top_k},
                       {"Lanes", lanes},
                       {"Groups", groups},
                       {"PerThread", per_thread},
                       {"Round", round}});
  plan.grid = {blocks(shape.intermediate, groups * per_thread), static_cast<unsigned>(shape.top_k), 1};
  plan.block.x = static_cast<unsigned>(lanes * groups);
  return plan;
}

/// down by tensor cores.
inline Plan plan_down_tensor_cores(const WeightFormat& format, DType dtype, const MoeShape& shape,
                                   const MoeOptions& options) {
  const std::string weight = format.type(shape.intermediate, dtype), type = device_type(dtype);
  check_tile_type(dtype);
  if (shape.hidden % tile_rows != 0) fail("a hidden size of {}: expected a multiple of {}", shape.hidden, tile_rows);
  if (shape.top_k > most_choices) fail("{} experts a token: the kernels take at most {}", shape.top_k, most_choices);
  // Experts that a block works on at once. It shows in no result; 160 KB is what every GPU from sm_80's large ones on
  // has for a block.
  const unsigned tile = format.tile_bytes(shape.intermediate, dtype);
  const unsigned row = format.staged_bytes(shape.intermediate, dtype);
  const unsigned each = tile + static_cast<unsigned>(options.rows) * row;
  int teams = options.route ? shape.top_k : std::min(shape.top_k, 8);
  while (shape.top_k % teams != 0 || (!options.route && teams > 1 && teams * each > 152 * 1024)) --teams;
  const int warps = std::clamp(options.down_warps * ceil_div(shape.intermediate, 1024), 1, 32 / teams);
  Plan plan = options.route ? plan_of("experts/moe_one.cuh", "moe_down_one",
                                      {{"Weight", weight},
                                       {"T", type},
                                       {"Hidden", shape.hidden},
                                       {"Experts", shape.experts},
                                       {"TopK", shape.top_k},
                                       {"WarpsEach", warps},
                                       {"Renormalise", shape.renormalise}})
                            : plan_of("experts/moe_rows.cuh", "moe_down_rows",
                                      {{"Weight", weight},
                                       {"T", type},
                                       {"Hidden", shape.hidden},
                                       {"TopK", shape.top_k},
                                       {"Teams", teams},
                                       {"WarpsEach", warps},
                                       {"Round", options.round}});
  plan.grid.x = static_cast<unsigned>(shape.hidden / tile_rows);
  plan.block.x = 32 * static_cast<unsigned>(teams * warps);
  plan.shared_fixed = static_cast<unsigned>(teams) * tile;
  plan.shared_per_row = static_cast<unsigned>(teams) * row;
  plan.max_rows = options.route ? 1 : options.rows;
  return plan;
}

/// down by fused multiply-adds.
inline Plan plan_down_fma(const WeightFormat& format, DType dtype, const MoeShape& shape, bool round) {
  const int lanes =
      std::min(rounded_up(shape.intermediate / format.units(dtype).chunk, 32), 1024 / shape.top_k / 32 * 32);
  const int per_thread = format.is_dense() ? 2 : 8;
  Plan plan = plan_of("experts/moe.cuh", "moe_down",
                      {{"Weight", format.type(shape.intermediate, dtype)},
                       {"T", device_type(dtype)},
                       {"Hidden", shape.hidden},
                       {"TopK", shape.top_k},
                       {"Lanes", lanes},
                       {"PerThread", per_thread},
                       {"Round", round}});
  plan.grid.x = blocks(shape.hidden, per_thread);
  plan.rows_axis = 2;
  plan.block.x = static_cast<unsigned>(shape.top_k * lanes);
  return plan;
}

}  // namespace detail

/// gate, up and SiLU of the chosen experts. MoeParams.
inline Plan plan_gate_up(const WeightFormat& format, DType dtype, const MoeShape& shape, const MoeOptions& options) {
  Plan plan = options.arithmetic == Arithmetic::tensor_cores
                  ? detail::plan_gate_up_tensor_cores(format, dtype, shape, options)
                  : detail::plan_gate_up_fma(format, dtype, shape, options.round);
  plan.rows_axis = 2;
  plan.hot = true;
  plan.bytes_per_expert = 2 * detail::matrix_bytes(format, dtype, shape.intermediate, shape.hidden);
  plan.bytes_per_row = (shape.hidden + shape.top_k * shape.intermediate) * detail::element_bytes(dtype);
  return plan;
}

/// down of the chosen experts, their weighted sum and the residual. MoeParams.
inline Plan plan_down(const WeightFormat& format, DType dtype, const MoeShape& shape, const MoeOptions& options) {
  Plan plan = options.arithmetic == Arithmetic::tensor_cores
                  ? detail::plan_down_tensor_cores(format, dtype, shape, options)
                  : detail::plan_down_fma(format, dtype, shape, options.round);
  plan.hot = true;
  plan.bytes_per_expert = detail::matrix_bytes(format, dtype, shape.hidden, shape.intermediate);
  plan.bytes_per_row = (shape.top_k * shape.intermediate + 2 * shape.hidden) * detail::element_bytes(dtype);
  return plan;
}

}  // namespace fpf::kernel
