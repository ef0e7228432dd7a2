// Plans for the portable execution's kernels.
#pragma once

#include <fpf/kernel/plan/plan.hpp>
#include <fpf/kernel/plan/shapes.hpp>
#include <fpf/kernel/shared/portable_layout.hpp>
#include <fpf/kernel/shared/portable_params.hpp>

namespace fpf::kernel {

namespace detail {

/// A grid of x blocks of so many threads; any number of rows along an axis, 0: none.
inline Plan portable_plan(std::string_view file, std::string_view kernel, std::initializer_list<Argument> arguments,
                          unsigned x, int axis, int threads) {
  Plan plan = plan_of(file, kernel, arguments);
  plan.grid.x = x;
  plan.rows_axis = axis;
  plan.block.x = static_cast<unsigned>(threads);
  plan.max_rows = 0;
  return plan;
}

/// Threads that take a block of a reduction over k each.
inline int portable_lanes(int k) { return rounded_up(portable::blocks_of(k), 32); }

}  // namespace detail

// ---- products

/// A product with few rows. PortableProduct.
inline Plan plan_portable_gemv(const WeightFormat& format, DType dtype, int n, int k, Fusion fusion) {
  constexpr unsigned most_blocks = 2112;  // of a vocabulary's matrix each takes many outputs, and x but once
  const int lanes = detail::portable_lanes(k), groups = std::max(1, 256 / lanes);
  const int each = lanes > 256 || format.is_dense() ? 2 : 4;
  if (lanes > 1024) fail("a product over {} columns: the portable kernel takes up to 32768", k);
  Plan plan = detail::portable_plan("portable/gemv.cuh", "portable_gemv",
                                    {{"Weight", format.type(k, dtype)},
                                     {"T", device_type(dtype)},
                                     {"Lanes", lanes},
                                     {"Groups", groups},
                                     {"PerThread", each},
                                     {"Norm", fusion.norm},
                                     {"Add", fusion.added()}},
                                    std::min(detail::blocks(n, groups * each), most_blocks), 0, lanes * groups);
  plan.shared_fixed = static_cast<unsigned>(portable_stage_bytes(k, groups * each));
  plan.max_rows = portable_few_rows;
  plan.hot = true;
  return plan;
}

/// A product with any number of rows, which are normalised already. PortableProduct.
inline Plan plan_portable_gemm(const WeightFormat& format, DType dtype, int n, int k, int rows, Fusion fusion) {
  Plan plan = detail::portable_plan("portable/gemm.cuh", "portable_gemm",
                                    {{"Weight", format.type(k, dtype)}, {"Add", fusion.added()}},
                                    detail::blocks(n, portable_tile), 0, threads_of::portable_gemm);
  plan.grid.y = detail::blocks(rows, portable_tile);
  plan.shared_fixed = static_cast<unsigned>(portable_tile_bytes(k, format.permuted));
  return plan;
}

/// One projection of all experts over `rows` sorted slots. PortableGrouped.
inline Plan plan_portable_grouped(const WeightFormat& format, DType dtype, int n, int k, int rows, int experts) {
  Plan plan = detail::portable_plan("portable/gemm.cuh", "portable_gemm_grouped", {{"Weight", format.type(k, dtype)}},
                                    detail::blocks(n, portable_tile), 0, threads_of::portable_gemm);
  plan.grid.y = detail::blocks(rows, portable_tile) + static_cast<unsigned>(experts);
  plan.shared_fixed = static_cast<unsigned>(portable_tile_bytes(k, format.permuted));
  return plan;
}

/// PortableNorm.
inline Plan plan_portable_norm(DType dtype, int k) {
  const int threads = std::clamp(detail::portable_lanes(k) * 2, 64, 256);
  return detail::portable_plan("portable/norm.cuh", "portable_norm",
                               {{"T", device_type(dtype)}, {"K", k}, {"Threads", threads}}, 1, 1, threads);
}

// ---- attention: PortableAttention, all three

inline Plan plan_portable_rope(DType dtype, const AttentionShape& a) {
  return detail::portable_plan("portable/attention.cuh", "portable_rope_append",
                               {{"T", device_type(dtype)},
                                {"Heads", a.heads},
                                {"KvHeads", a.kv_heads},
                                {"HeadDim", a.head_dim},
                                {"HeadNorm", a.head_norm}},
                               static_cast<unsigned>(a.heads + 2 * a.kv_heads), 2, threads_of::warp);
}
inline Plan plan_portable_attend(DType dtype, const AttentionShape& a, int blocks, bool append) {
  if (a.head_dim % portable::block != 0 || a.head_dim > portable_most_dimensions)
    fail("heads of {} dimensions: the portable attention kernel takes multiples of {} up to {}", a.head_dim,
         portable::block, portable_most_dimensions);
  const int group = a.heads / a.kv_heads;
  if (group > most_group)
    fail("{} query heads on {} kv heads: the portable attention kernel takes 1 to {} for each", a.heads, a.kv_heads,
         most_group);
  Plan plan = detail::portable_plan("portable/attention.cuh", "portable_attend",
                                    {{"T", device_type(dtype)},
                                     {"Heads", a.heads},
                                     {"KvHeads", a.kv_heads},
                                     {"HeadDim", a.head_dim},
                                     {"HeadNorm", a.head_norm},
                                     {"Append", append}},
                                    static_cast<unsigned>(blocks), 3, threads_of::portable_attend);
  plan.grid.y = static_cast<unsigned>(a.kv_heads);
  plan.shared_fixed = static_cast<unsigned>(portable_attend_bytes(group, a.head_dim, static_cast<int>(size_of(dtype))));
  return plan;
}
inline Plan plan_portable_join(const AttentionShape& a) {
  return detail::portable_plan("portable/attention.cuh", "portable_attend_join",
                               {{"Heads", a.heads}, {"HeadDim", a.head_dim}},
                               static_cast<unsigned>(a.heads * a.head_dim / 32), 2, threads_of::portable_join);
}

// ---- the two ends

/// PortableEmbedding; ids of 64 bits or 32.
inline Plan plan_portable_embed(DType dtype, int hidden, bool wide_ids) {
  return detail::portable_plan("portable/head.cuh", "portable_embed",
                               {{"T", device_type(dtype)}, {"Id", wide_ids ? "long long" : "int"}, {"Hidden", hidden}},
                               detail::blocks(hidden, threads_of::portable_values), 2, threads_of::portable_values);
}

/// PortableLogProbs, all three; `portable_slices` sizes the candidates.
inline constexpr int portable_slices = 132;
inline Plan plan_portable_top_slices(int vocabulary, int k) {
  constexpr int threads = threads_of::portable_values;
  if (k < 1 || k > most_best(portable_slices) || k > vocabulary)
    fail("the {} best of {} tokens: the kernel takes 1 to {}", k, vocabulary, most_best(portable_slices));
  const int each = ceil_div(ceil_div(vocabulary, portable_slices), threads);
  return detail::portable_plan("portable/head.cuh", "portable_top_slices",
                               {{"K", k}, {"Slices", portable_slices}, {"Each", each}}, portable_slices, 2, threads);
}
inline Plan plan_portable_exp_sums(int vocabulary, int k) {
  return detail::portable_plan("portable/head.cuh", "portable_exp_sums", {{"K", k}, {"Slices", portable_slices}},
                               detail::blocks(portable::blocks_of(vocabulary), threads_of::portable_values), 2,
                               threads_of::portable_values);
}
inline Plan plan_portable_log_probs(int vocabulary, int k) {
  Plan plan = detail::portable_plan("portable/head.cuh", "portable_log_probs", {{"K", k}, {"Slices", portable_slices}},
                                    1, 1, threads_of::portable_values);
  plan.shared_fixed = 4 * static_cast<unsigned>(portable::blocks_of(vocabulary));
  return plan;
}

/// PortableNarrow.
inline Plan plan_portable_narrow(DType dtype, long long count) {
  return detail::portable_plan("portable/head.cuh", "portable_narrow", {{"T", device_type(dtype)}},
                               detail::blocks(count, threads_of::portable_values), 0, threads_of::portable_values);
}

}  // namespace fpf::kernel
