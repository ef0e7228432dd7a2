// Plans for matrix-vector products, the experts, and the packing of weights.
#pragma once

#include <fpf/kernel/plan/plan.hpp>
#include <string>

namespace fpf::kernel {

/// What a product does besides multiplying.
struct Fusion {
  bool norm = false;  // RMS-normalise x on the way in
  bool add = false;   // add a residual before the result is rounded
};

/// out [rows, n] = x [rows, k] * matrix. GemvParams. Throws Error for shapes the kernels do not take.
inline Plan plan_gemv(const WeightFormat& format, DType dtype, int n, int k, Fusion fusion, Arithmetic arithmetic,
                      int warps = 0) {
  Plan plan;
  const std::string weight = format.type(k, dtype), type = device_type(dtype);
  plan.fixed_bytes = static_cast<double>(format.bytes(static_cast<std::size_t>(n), static_cast<std::size_t>(k), dtype));
  plan.bytes_per_row = (k + n * (fusion.add ? 2 : 1)) * detail::element_bytes(dtype);
  plan.hot = true;
  if (arithmetic == Arithmetic::tiles) {
    if (dtype == DType::float32) fail("the matrix units' products take bfloat16 or float16 activations, not float32");
    if (n < 16) fail("a product with {} output features: the matrix units' kernels take 16 or more", n);
    if (n % 8 != 0 && format.kind != WeightFormat::Kind::dense)
      fail("a {} product with {} output features: expected a multiple of 8", format.name(), n);
    const int parts = (k + 127) / 128;
    if (warps == 0) warps = parts >= 32 ? 16 : parts >= 8 ? 8 : 4;
    plan.file = "fpf/kernel/product/rows.cuh";
    plan.expression =
        fmt::format("fpf::kernel::gemv_rows<{}, {}, {}, {}, {}>", weight, type, warps, fusion.norm, fusion.add);
    plan.grid.x = detail::blocks(n, 16);
    plan.block.x = 32 * static_cast<unsigned>(warps);
    plan.shared_fixed = format.tile_bytes(k, dtype);
    plan.shared_per_row = format.staged_bytes(k);
    return plan;
  }
  const int pieces = k / format.chunk(dtype), lanes = std::min(256, (pieces + 31) / 32 * 32);
  int per_thread = format.kind == WeightFormat::Kind::dense ? 4 : 8;
  while (per_thread > 1 && n / per_thread < 128) per_thread /= 2;
  if (k * static_cast<int>(size_of(dtype)) > 36 * 1024)
    fail("a product over {} {} columns: x must fit into 36 KB", k, name_of(dtype));
  plan.file = "fpf/kernel/product/gemv.cuh";
  plan.expression = fmt::format("fpf::kernel::gemv<{}, {}, {}, 1, {}, {}, {}>", weight, type, lanes, per_thread,
                                fusion.norm, fusion.add);
  plan.grid.x = detail::blocks(n, per_thread);
  plan.block.x = static_cast<unsigned>(lanes);
  return plan;
}

/// The same for a matrix far larger than the chip, the head: `blocks` of them walk over its rows. GemvParams.
inline Plan plan_head(const WeightFormat& format, DType dtype, int n, int k, bool norm, int blocks) {
  constexpr int warps = 8, per_warp = 2;
  Plan plan;
  plan.file = "fpf/kernel/product/gemv.cuh";
  plan.expression = fmt::format("fpf::kernel::gemv_stream<{}, {}, {}, {}, {}>", format.type(k, dtype),
                                device_type(dtype), warps, per_warp, norm);
  if (n < per_warp) fail("a head with {} rows: expected at least {}", n, per_warp);
  plan.grid.x = std::min(static_cast<unsigned>(blocks), detail::blocks(n, warps * per_warp));
  plan.block.x = 32 * warps;
  const int vector = 16 / static_cast<int>(size_of(dtype));
  plan.shared_per_row = static_cast<unsigned>((format.kind == WeightFormat::Kind::dense ? k : k + k / 32 * vector) *
                                              static_cast<int>(size_of(dtype)));
  plan.fixed_bytes = static_cast<double>(format.bytes(static_cast<std::size_t>(n), static_cast<std::size_t>(k), dtype));
  plan.bytes_per_row = (k + n) * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// route: the kernel chooses from the router's logits itself (one row). round: to the activations' type after
/// each operation.
struct MoeOptions {
  bool route = false;
  bool round = false;
  Arithmetic arithmetic = Arithmetic::tiles;
  int gate_up_warps = 4;  // of a tile, by matrix units
  int gate_up_tiles = 3;  // of a block, with route
  int down_warps = 2;     // of an expert
  int rows = 8;           // at most; fewer leave room for more experts at once
};

namespace detail {

inline double expert_bytes(const WeightFormat& format, DType dtype, int n, int k) {
  return static_cast<double>(format.bytes(static_cast<std::size_t>(n), static_cast<std::size_t>(k), dtype));
}

}  // namespace detail

/// gate, up and SiLU of the chosen experts. MoeParams.
inline Plan plan_gate_up(const WeightFormat& format, DType dtype, const MoeShape& shape, const MoeOptions& options) {
  Plan plan;
  plan.rows_axis = 2;
  plan.hot = true;
  plan.bytes_per_expert = 2 * detail::expert_bytes(format, dtype, shape.intermediate, shape.hidden);
  plan.bytes_per_row = (shape.hidden + shape.top_k * shape.intermediate) * detail::element_bytes(dtype);
  const std::string weight = format.type(shape.hidden, dtype), type = device_type(dtype);
  if (options.arithmetic == Arithmetic::tiles) {
    if (options.route && options.round) fail("experts that choose for themselves do not round after each operation");
    const int warps = options.gate_up_warps;
    if (shape.intermediate % 16 != 0)
      fail("experts of {} intermediate features: expected a multiple of 16", shape.intermediate);
    const bool joint = options.route && !format.permuted;  // gate and up in one tile
    int tiles = joint ? options.gate_up_tiles : 1;
    while (joint && shape.intermediate % (8 * tiles) != 0) --tiles;
    const std::string types = fmt::format("{}, {}, {}", weight, type, shape.intermediate);
    plan.file = options.route ? "fpf/kernel/experts/moe_one.cuh" : "fpf/kernel/experts/moe_rows.cuh";
    if (joint)
      plan.expression = fmt::format("fpf::kernel::moe_gate_up_one<{}, {}, {}, {}, {}, {}>", types, shape.experts,
                                    shape.top_k, tiles, warps, shape.renormalise);
    else if (options.route)
      plan.expression = fmt::format("fpf::kernel::moe_gate_up_one_ordered<{}, {}, {}, {}, {}>", types, shape.experts,
                                    shape.top_k, warps, shape.renormalise);
    else
      plan.expression =
          fmt::format("fpf::kernel::moe_gate_up_rows<{}, {}, {}, {}>", types, shape.top_k, warps, options.round);
    plan.grid = {static_cast<unsigned>(shape.intermediate / (joint ? 8 * tiles : 16)),
                 static_cast<unsigned>(shape.top_k), 1};
    plan.block.x = 32 * static_cast<unsigned>(tiles * warps);
    plan.shared_fixed = static_cast<unsigned>(joint ? tiles : 2) * format.tile_bytes(shape.hidden, dtype);
    plan.shared_per_row = format.staged_bytes(shape.hidden);
    if (options.route) plan.max_rows = 1;
    return plan;
  }
  const int lanes = std::min(256, (shape.hidden / format.chunk(dtype) + 31) / 32 * 32);
  const int groups = lanes >= 128 ? 1 : 128 / lanes, per_thread = format.kind == WeightFormat::Kind::dense ? 2 : 4;
  plan.file = "fpf/kernel/experts/moe.cuh";
  plan.expression = fmt::format("fpf::kernel::moe_gate_up<{}, {}, {}, {}, {}, {}, {}, {}>", weight, type,
                                shape.intermediate, shape.top_k, lanes, groups, per_thread, options.round);
  plan.grid = {detail::blocks(shape.intermediate, groups * per_thread), static_cast<unsigned>(shape.top_k), 1};
  plan.block.x = static_cast<unsigned>(lanes * groups);
  return plan;
}

/// down of the chosen experts, their weighted sum and the residual. MoeParams.
inline Plan plan_down(const WeightFormat& format, DType dtype, const MoeShape& shape, const MoeOptions& options) {
  Plan plan;
  plan.hot = true;
  plan.bytes_per_expert = detail::expert_bytes(format, dtype, shape.hidden, shape.intermediate);
  plan.bytes_per_row = (shape.top_k * shape.intermediate + 2 * shape.hidden) * detail::element_bytes(dtype);
  const std::string weight = format.type(shape.intermediate, dtype), type = device_type(dtype);
  if (options.arithmetic == Arithmetic::tiles) {
    if (shape.hidden % 16 != 0) fail("a hidden size of {}: expected a multiple of 16", shape.hidden);
    if (shape.top_k > 32) fail("{} experts a token: the kernels take at most 32", shape.top_k);
    // Experts that a block works on at once. It shows in no result; 160 KB is what every GPU from sm_80's
    // large ones on has for a block.
    const unsigned each = format.tile_bytes(shape.intermediate, dtype) +
                          static_cast<unsigned>(options.rows) * format.staged_bytes(shape.intermediate);
    int teams = options.route ? shape.top_k : std::min(shape.top_k, 8);
    while (shape.top_k % teams != 0 || (!options.route && teams > 1 && teams * each > 152 * 1024)) --teams;
    const int warps = std::clamp(options.down_warps * ((shape.intermediate + 1023) / 1024), 1, 32 / teams);
    plan.file = options.route ? "fpf/kernel/experts/moe_one.cuh" : "fpf/kernel/experts/moe_rows.cuh";
    plan.expression = options.route ? fmt::format("fpf::kernel::moe_down_one<{}, {}, {}, {}, {}, {}, {}>", weight, type,
                                                  shape.hidden, shape.experts, shape.top_k, warps, shape.renormalise)
                                    : fmt::format("fpf::kernel::moe_down_rows<{}, {}, {}, {}, {}, {}, {}>", weight,
                                                  type, shape.hidden, shape.top_k, teams, warps, options.round);
    plan.grid.x = static_cast<unsigned>(shape.hidden / 16);
    plan.block.x = 32 * static_cast<unsigned>(teams * warps);
    plan.shared_fixed = static_cast<unsigned>(teams) * format.tile_bytes(shape.intermediate, dtype);
    plan.shared_per_row = static_cast<unsigned>(teams) * format.staged_bytes(shape.intermediate);
    plan.max_rows = options.route ? 1 : options.rows;
    return plan;
  }
  const int lanes = (shape.intermediate / format.chunk(dtype) + 31) / 32 * 32;
  const int each = std::min(lanes, 1024 / shape.top_k / 32 * 32);
  plan.file = "fpf/kernel/experts/moe.cuh";
  plan.expression = fmt::format("fpf::kernel::moe_down<{}, {}, {}, {}, {}, {}, {}>", weight, type, shape.hidden,
                                shape.top_k, each, format.kind == WeightFormat::Kind::dense ? 2 : 8, options.round);
  plan.grid = {detail::blocks(shape.hidden, format.kind == WeightFormat::Kind::dense ? 2 : 8), 1, 1};
  plan.rows_axis = 2;
  plan.block.x = static_cast<unsigned>(shape.top_k * each);
  return plan;
}

/// Which checkpoint layout a matrix comes from.
enum class Layout { awq, gptq, bitsandbytes };

/// Codes of an [n, k] matrix into packed form. RepackParams.
inline Plan plan_repack_codes(Layout layout, const WeightFormat& format, DType dtype, int n, int k) {
  if (layout == Layout::awq && n % 8 != 0) fail("an AWQ matrix with {} output features: expected a multiple of 8", n);
  const char* name = layout == Layout::awq ? "Awq" : layout == Layout::gptq ? "Gptq" : "BitsAndBytes";
  Plan plan;
  plan.file = "fpf/kernel/weights/repack.cuh";
  plan.expression = fmt::format("fpf::kernel::repack_codes<fpf::kernel::{}, {}>", name, format.type(k, dtype));
  plan.grid = {detail::blocks(n, 64), static_cast<unsigned>(k / 32), 1};
  plan.block = {64, 4, 1};
  plan.fixed_bytes = static_cast<double>(n) * k;
  return plan;
}

/// Scales and zeros, or NF4's maxima and map. RepackParams.
inline Plan plan_repack_scales(Layout layout, const WeightFormat& format, DType dtype, int n, int k) {
  Plan plan;
  plan.file = "fpf/kernel/weights/repack.cuh";
  plan.block.x = 256;
  if (layout == Layout::bitsandbytes) {
    plan.expression = fmt::format("fpf::kernel::repack_absmax<{}>", format.type(k, dtype));
    plan.grid.x = detail::blocks(n * (k / 64), 256);
  } else {
    plan.expression = fmt::format("fpf::kernel::repack_scales<fpf::kernel::{}, {}>",
                                  layout == Layout::awq ? "Awq" : "Gptq", format.type(k, dtype));
    plan.grid.x = detail::blocks(n, 256);
  }
  return plan;
}

/// A packed 4-bit [n, k] matrix to a dense one. DequantiseParams.
inline Plan plan_dequantise(const WeightFormat& format, DType dtype, int n, int k) {
  Plan plan;
  plan.file = "fpf/kernel/weights/repack.cuh";
  plan.expression = fmt::format("fpf::kernel::dequantise<{}, {}>", format.type(k, dtype), device_type(dtype));
  plan.grid = {static_cast<unsigned>(n), detail::blocks(k, 2048), 1};
  plan.block.x = 256;
  plan.fixed_bytes = static_cast<double>(n) * k * (0.5 + detail::element_bytes(dtype));
  return plan;
}

/// One projection of all experts to a dense [experts, n, k]. StackParams.
inline Plan plan_dequantise_stack(const WeightFormat& format, DType dtype, int n, int k, int experts) {
  Plan plan = plan_dequantise(format, dtype, n, k);
  plan.expression = fmt::format("fpf::kernel::dequantise_stack<{}, {}>", format.type(k, dtype), device_type(dtype));
  plan.grid.z = static_cast<unsigned>(experts);
  plan.fixed_bytes *= experts;
  return plan;
}

}  // namespace fpf::kernel
