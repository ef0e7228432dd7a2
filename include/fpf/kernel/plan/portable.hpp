// Plans for the portable execution's kernels.
#pragma once

#include <fpf/kernel/plan/plan.hpp>
#include <fpf/kernel/shared/portable_params.hpp>
#include <string>

namespace fpf::kernel {

/// Up to here rows go through kernels of their own, which read each weight once.
inline constexpr int portable_few_rows = 8;

namespace detail {

/// Blocks of 32 of a reduction over k, and the threads that take one each.
inline int portable_blocks(int k) { return (k + 31) / 32; }
inline int portable_lanes(int k) { return (portable_blocks(k) + 31) / 32 * 32; }

inline Plan portable_plan(std::string file, std::string expression, unsigned x, int axis, unsigned threads) {
  Plan plan;
  plan.file = "fpf/kernel/portable/" + file + ".cuh";
  plan.expression = "fpf::kernel::portable_" + std::move(expression);
  plan.grid.x = x;
  plan.rows_axis = axis;
  plan.block.x = threads;
  plan.max_rows = 0;
  return plan;
}

/// Of tile_product.
inline unsigned portable_tile_bytes(const WeightFormat& format, int k) {
  return 2 * 32 * 132 * 4 + 64 + (format.permuted ? 4 * static_cast<unsigned>(k) : 0);
}

/// PortableStage
inline unsigned portable_stage_bytes(int k, int outputs) {
  return static_cast<unsigned>(4 * (portable_blocks(k) * 36 + outputs * (portable_blocks(k) + 1) + 16));
}

inline unsigned portable_tiles(int count) { return static_cast<unsigned>((count + 127) / 128); }

}  // namespace detail

/// A product with few rows; norm: of their RMSNorm; add: onto what is there. PortableProduct.
inline Plan plan_portable_gemv(const WeightFormat& format, DType dtype, int n, int k, bool norm, bool add) {
  constexpr unsigned most_blocks = 2112;  // of a vocabulary's matrix each takes many outputs, and x but once
  const int lanes = detail::portable_lanes(k), groups = std::max(1, 256 / lanes);
  const int each = lanes > 256 || format.kind == WeightFormat::Kind::dense ? 2 : 4;
  if (lanes > 1024) fail("a product over {} columns: the portable kernel takes up to 32768", k);
  Plan plan = detail::portable_plan("gemv",
                                    fmt::format("gemv<{}, {}, {}, {}, {}, {}, {}>", format.type(k, dtype),
                                                device_type(dtype), lanes, groups, each, norm, add),
                                    std::min(detail::blocks(n, groups * each), most_blocks), 0,
                                    static_cast<unsigned>(lanes * groups));
  plan.shared_fixed = detail::portable_stage_bytes(k, groups * each);
  plan.max_rows = portable_few_rows;
  plan.hot = true;
  return plan;
}

/// A product with any number of rows. PortableProduct; the grid's second axis is portable_tiles(rows).
inline Plan plan_portable_gemm(const WeightFormat& format, DType dtype, int n, int k, int rows, bool add) {
  Plan plan = detail::portable_plan("gemm", fmt::format("gemm<{}, {}>", format.type(k, dtype), add),
                                    detail::portable_tiles(n), 0, 256);
  plan.grid.y = detail::portable_tiles(rows);
  plan.shared_fixed = detail::portable_tile_bytes(format, k);
  return plan;
}

/// One projection of all experts over `rows` sorted slots. PortableGrouped.
inline Plan plan_portable_grouped(const WeightFormat& format, DType dtype, int n, int k, int rows, int experts) {
  Plan plan = detail::portable_plan("gemm", fmt::format("gemm_grouped<{}>", format.type(k, dtype)),
                                    detail::portable_tiles(n), 0, 256);
  plan.grid.y = detail::portable_tiles(rows) + static_cast<unsigned>(experts);
  plan.shared_fixed = detail::portable_tile_bytes(format, k);
  return plan;
}

/// PortableNorm.
inline Plan plan_portable_norm(DType dtype, int k) {
  const int threads = std::clamp(detail::portable_lanes(k) * 2, 64, 256);
  return detail::portable_plan("norm", fmt::format("norm<{}, {}, {}>", device_type(dtype), k, threads), 1, 1,
                               static_cast<unsigned>(threads));
}

/// PortableAttention, all three.
inline Plan plan_portable_rope(DType dtype, const AttentionShape& a) {
  return detail::portable_plan(
      "attention",
      fmt::format("rope_append<{}, {}, {}, {}, {}>", device_type(dtype), a.heads, a.kv_heads, a.head_dim, a.head_norm),
      static_cast<unsigned>(a.heads + 2 * a.kv_heads), 2, 32);
}
inline Plan plan_portable_attend(DType dtype, const AttentionShape& a, int blocks, bool append) {
  if (a.head_dim % 32 != 0 || a.head_dim > 256)
    fail("heads of {} dimensions: the portable attention kernel takes multiples of 32 up to 256", a.head_dim);
  const int group = a.heads / a.kv_heads;
  if (group > 8)
    fail("{} query heads on {} kv heads: the portable attention kernel takes 1 to 8 for each", a.heads, a.kv_heads);
  Plan plan = detail::portable_plan("attention",
                                    fmt::format("attend<{}, {}, {}, {}, {}, {}>", device_type(dtype), a.heads,
                                                a.kv_heads, a.head_dim, a.head_norm, append),
                                    static_cast<unsigned>(blocks), 3, 160);
  plan.grid.y = static_cast<unsigned>(a.kv_heads);
  const int element = static_cast<int>(size_of(dtype));
  const int d_blocks = a.head_dim / 32;
  const int floats = (group + 1) * (d_blocks * 36 + 9) + 64 * 8 + group * 64 + 3 * a.head_dim;
  plan.shared_fixed = static_cast<unsigned>(floats * 4 + 64 * d_blocks * (64 * element + 16));
  return plan;
}
inline Plan plan_portable_join(const AttentionShape& a) {
  return detail::portable_plan("attention", fmt::format("attend_join<{}, {}>", a.heads, a.head_dim),
                               static_cast<unsigned>(a.heads * a.head_dim / 32), 2, 128);
}

/// RouteParams.
inline Plan plan_portable_route(const MoeShape& m) {
  return detail::portable_plan("moe", fmt::format("route<{}, {}, {}>", m.experts, m.top_k, m.renormalise), 1, 1, 32);
}

/// The chosen experts of few rows. PortableMoe; gate_up's second axis is rows * top_k.
inline Plan plan_portable_gate_up(const WeightFormat& format, DType dtype, const MoeShape& m) {
  const int lanes = detail::portable_lanes(m.hidden), groups = std::max(1, 128 / lanes), each = 2;
  Plan plan =
      detail::portable_plan("moe",
                            fmt::format("gate_up<{}, {}, {}, {}, {}, {}>", format.type(m.hidden, dtype), m.intermediate,
                                        m.top_k, lanes, groups, each),
                            detail::blocks(m.intermediate, groups * each), 2, static_cast<unsigned>(lanes * groups));
  plan.grid.y = static_cast<unsigned>(m.top_k);
  plan.shared_fixed = detail::portable_stage_bytes(m.hidden, 2 * groups * each);
  plan.max_rows = portable_few_rows;
  return plan;
}
inline Plan plan_portable_down(const WeightFormat& format, DType dtype, const MoeShape& m) {
  const int blocks = detail::portable_blocks(m.intermediate), threads = (m.top_k * blocks + 31) / 32 * 32;
  const int each = threads > 256 || format.kind == WeightFormat::Kind::dense ? 4 : 8;
  if (threads > 1024)
    fail("{} experts of {} intermediate features a token: the portable kernel takes {} products at most", m.top_k,
         m.intermediate, 1024 * 32);
  Plan plan = detail::portable_plan("moe",
                                    fmt::format("down<{}, {}, {}, {}, {}, {}>", format.type(m.intermediate, dtype),
                                                device_type(dtype), m.hidden, m.top_k, threads, each),
                                    detail::blocks(m.hidden, each), 2, static_cast<unsigned>(threads));
  plan.shared_fixed = static_cast<unsigned>(4 * m.top_k * (blocks * 36 + each * (blocks + 1)));
  plan.max_rows = portable_few_rows;
  return plan;
}

/// What many rows need around the experts' products: PortableGroups, ElementwiseParams, PortableMoe.
inline Plan plan_portable_group(int experts) {
  return detail::portable_plan("moe", fmt::format("group<{}>", experts), 1, 0, 1024);
}
inline Plan plan_portable_silu_mul(long long count) {
  return detail::portable_plan("moe", "silu_mul", static_cast<unsigned>((count + 255) / 256), 0, 256);
}
inline Plan plan_portable_experts_sum(DType dtype, const MoeShape& m) {
  return detail::portable_plan("moe", fmt::format("experts_sum<{}, {}, {}>", device_type(dtype), m.hidden, m.top_k), 1,
                               1, 256);
}

/// PortableEmbedding; ids of 64 bits or 32.
inline Plan plan_portable_embed(DType dtype, int hidden, bool wide_ids) {
  return detail::portable_plan(
      "head", fmt::format("embed<{}, {}, {}>", device_type(dtype), wide_ids ? "long long" : "int", hidden),
      static_cast<unsigned>((hidden + 255) / 256), 2, 256);
}

/// PortableLogProbs, all three; `portable_slices` sizes the candidates.
inline constexpr int portable_slices = 132;
inline Plan plan_portable_top_slices(int vocabulary, int k) {
  if (k < 1 || k > 15 || k > vocabulary) fail("the {} best of {} tokens: the kernel takes 1 to 15", k, vocabulary);
  const int slice = (vocabulary + portable_slices - 1) / portable_slices;
  return detail::portable_plan("head", fmt::format("top_slices<{}, {}, {}>", k, portable_slices, (slice + 255) / 256),
                               portable_slices, 2, 256);
}
inline Plan plan_portable_exp_sums(int vocabulary, int k) {
  return detail::portable_plan("head", fmt::format("exp_sums<{}, {}>", k, portable_slices),
                               static_cast<unsigned>((detail::portable_blocks(vocabulary) + 255) / 256), 2, 256);
}
inline Plan plan_portable_log_probs(int vocabulary, int k) {
  Plan plan = detail::portable_plan("head", fmt::format("log_probs<{}, {}>", k, portable_slices), 1, 1, 256);
  plan.shared_fixed = 4 * static_cast<unsigned>(detail::portable_blocks(vocabulary));
  return plan;
}

/// PortableNarrow.
inline Plan plan_portable_narrow(DType dtype, long long count) {
  return detail::portable_plan("head", fmt::format("narrow<{}>", device_type(dtype)),
                               static_cast<unsigned>((count + 255) / 256), 0, 256);
}

}  // namespace fpf::kernel
