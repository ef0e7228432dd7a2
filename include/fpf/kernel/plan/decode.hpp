// Plans for everything between the products: norms, rotary embedding, attention, router, the step's two ends.
#pragma once

#include <fpf/kernel/plan/plan.hpp>

namespace fpf::kernel {

/// RMSNorm of rows of k, after adding a delta where one is given. NormParams. round: as separate operations.
inline Plan plan_rms_norm(DType dtype, int k, bool round) {
  const int vector = 16 / static_cast<int>(size_of(dtype));
  if (k % vector != 0) fail("a norm over {} {} values: expected a multiple of {}", k, name_of(dtype), vector);
  const int threads = std::clamp((k / vector + 31) / 32 * 32, 32, 256);
  Plan plan;
  plan.file = "fpf/kernel/ends/norm.cuh";
  plan.expression = fmt::format("fpf::kernel::rms_norm<{}, {}, {}, {}>", device_type(dtype), k, threads, round);
  plan.rows_axis = 1;
  plan.block.x = static_cast<unsigned>(threads);
  plan.max_rows = 0;
  plan.bytes_per_row = 4 * k * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// a + b, or silu(a) * b, over `count` elements. ElementwiseParams.
inline Plan plan_elementwise(bool silu_mul, DType dtype, long long count) {
  const int vector = 16 / static_cast<int>(size_of(dtype));
  if (count % vector != 0) fail("an element-wise operation over {} values: expected a multiple of {}", count, vector);
  Plan plan;
  plan.file = "fpf/kernel/ends/elementwise.cuh";
  plan.expression =
      fmt::format("fpf::kernel::elementwise<fpf::kernel::{}, {}>", silu_mul ? "SiluMul" : "Add", device_type(dtype));
  plan.grid.x = static_cast<unsigned>((count + 256 * vector - 1) / (256 * vector));
  plan.block.x = 256;
  plan.max_rows = 0;
  plan.fixed_bytes = 3.0 * static_cast<double>(count) * detail::element_bytes(dtype);
  return plan;
}

namespace detail {

inline void check_heads(const AttentionShape& shape) {
  if (shape.head_dim % 64 != 0)
    fail("heads of {} dimensions: the attention kernels take multiples of 64", shape.head_dim);
  if (shape.heads % shape.kv_heads != 0 || shape.heads / shape.kv_heads > 8)
    fail("{} query heads on {} kv heads: the attention kernels take 1 to 8 for each", shape.heads, shape.kv_heads);
}

}  // namespace detail

/// Norm and rotary embedding of q and k, and the append. AttentionParams. round: as separate operations.
inline Plan plan_rope_append(DType dtype, const AttentionShape& shape, bool round) {
  detail::check_heads(shape);
  Plan plan;
  plan.file = "fpf/kernel/attention/rope.cuh";
  plan.expression = fmt::format("fpf::kernel::rope_append<{}, {}, {}, {}, {}, {}>", device_type(dtype), shape.heads,
                                shape.kv_heads, shape.head_dim, shape.head_norm, round);
  plan.grid.x = static_cast<unsigned>(shape.heads + 2 * shape.kv_heads);
  plan.rows_axis = 2;
  plan.max_rows = 0;
  plan.block.x = 32;
  plan.bytes_per_row = 2.0 * (shape.heads + 2 * shape.kv_heads) * shape.head_dim * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// The parts' attention; fused: with the work of rope_append. float32 has only the form after rope_append.
/// AttentionParams.
inline Plan plan_attend(DType dtype, const AttentionShape& shape, bool fused) {
  detail::check_heads(shape);
  Plan plan;
  int warps = shape.warps;
  if (dtype == DType::float32) {
    if (fused) fail("float32 attention is not fused with the rotary embedding");
    warps = std::min(warps, 8);
    plan.file = "fpf/kernel/attention/attention_float.cuh";
    plan.expression = fmt::format("fpf::kernel::attend_float<{}, {}, {}, {}, {}>", shape.heads, shape.kv_heads,
                                  shape.head_dim, shape.splits, warps);
  } else {
    plan.file = "fpf/kernel/attention/attention.cuh";
    plan.expression =
        fmt::format("fpf::kernel::attend<{}, {}, {}, {}, {}, {}, {}, {}>", device_type(dtype), shape.heads,
                    shape.kv_heads, shape.head_dim, shape.splits, shape.warps, fused, shape.head_norm);
    const int row_bytes = shape.head_dim * 2;  // attend_bytes_per_warp
    const int tile = 16 * ((row_bytes + 127) / 128 * 128 + 64 + row_bytes + 16), sums = 8 * (shape.head_dim + 4) * 4;
    plan.shared_fixed = static_cast<unsigned>(shape.warps * std::max(tile, sums));
  }
  plan.grid = {static_cast<unsigned>(shape.splits), static_cast<unsigned>(shape.kv_heads), 1};
  plan.rows_axis = 3;
  plan.block.x = 32 * static_cast<unsigned>(warps);
  plan.bytes_per_row = 4.0 * shape.heads * shape.head_dim * shape.splits;
  plan.bytes_per_position = 2.0 * shape.kv_heads * shape.head_dim * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// The parts put together. AttentionParams.
inline Plan plan_combine(DType dtype, const AttentionShape& shape) {
  detail::check_heads(shape);
  Plan plan;
  plan.file = "fpf/kernel/attention/attention.cuh";
  plan.expression = fmt::format("fpf::kernel::combine<{}, {}, {}, {}>", device_type(dtype), shape.heads, shape.head_dim,
                                shape.splits);
  plan.grid.x = static_cast<unsigned>(shape.heads * shape.head_dim / 32);
  plan.rows_axis = 2;
  plan.block.x = 128;
  plan.bytes_per_row = 4.0 * shape.heads * shape.head_dim * shape.splits;
  plan.hot = true;
  return plan;
}

/// The three kernels of attention_eager.cuh. AttentionParams.
inline Plan plan_eager_scores(DType dtype, const AttentionShape& shape) {
  detail::check_heads(shape);
  Plan plan;
  plan.file = "fpf/kernel/attention/attention_eager.cuh";
  plan.expression = fmt::format("fpf::kernel::eager_scores<{}, {}, {}, {}>", device_type(dtype), shape.heads,
                                shape.kv_heads, shape.head_dim);
  plan.grid = {static_cast<unsigned>(shape.splits), static_cast<unsigned>(shape.kv_heads), 1};
  plan.rows_axis = 3;
  plan.block.x = 256;
  plan.bytes_per_position = (1.0 * shape.kv_heads * shape.head_dim + shape.heads) * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}
inline Plan plan_eager_softmax(DType dtype, const AttentionShape& shape) {
  Plan plan;
  plan.file = "fpf/kernel/attention/attention_eager.cuh";
  plan.expression = fmt::format("fpf::kernel::eager_softmax<{}, {}>", device_type(dtype), shape.heads);
  plan.grid.x = static_cast<unsigned>(shape.heads);
  plan.rows_axis = 2;
  plan.block.x = 256;
  plan.bytes_per_position = 2.0 * shape.heads * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}
inline Plan plan_eager_product(DType dtype, const AttentionShape& shape) {
  detail::check_heads(shape);
  constexpr int warps = 16;
  Plan plan;
  plan.file = "fpf/kernel/attention/attention_eager.cuh";
  plan.expression = fmt::format("fpf::kernel::eager_product<{}, {}, {}, {}, {}>", device_type(dtype), shape.heads,
                                shape.kv_heads, shape.head_dim, warps);
  plan.grid.x = static_cast<unsigned>(shape.heads);
  plan.rows_axis = 2;
  plan.block.x = 32 * warps;
  plan.bytes_per_position = (1.0 * shape.kv_heads * shape.head_dim + shape.heads) * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// Bytes of AttentionParams::partial and ::partial_stats for so many rows.
inline std::size_t partial_bytes(const AttentionShape& shape, int rows) {
  return sizeof(float) * static_cast<std::size_t>(rows * shape.heads * shape.splits * shape.head_dim);
}
inline std::size_t partial_stats_bytes(const AttentionShape& shape, int rows) {
  return sizeof(float) * static_cast<std::size_t>(rows * shape.heads * shape.splits * 2);
}

/// The router's choice. RouteParams. round: the weights to the activations' type.
inline Plan plan_route(DType dtype, int experts, int top_k, bool renormalise, bool round) {
  if (top_k < 1 || top_k > 32 || top_k > experts)
    fail("{} of {} experts: the router kernel takes 1 to 32", top_k, experts);
  Plan plan;
  plan.file = "fpf/kernel/experts/router.cuh";
  plan.expression =
      fmt::format("fpf::kernel::route<{}, {}, {}, {}, {}>", device_type(dtype), experts, top_k, renormalise, round);
  plan.rows_axis = 1;
  plan.max_rows = 0;
  plan.block.x = 32;
  plan.bytes_per_row = experts * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// Embedding rows of token ids. EmbeddingParams.
inline Plan plan_embed(DType dtype, int hidden) {
  const int vector = 16 / static_cast<int>(size_of(dtype));
  if (hidden % vector != 0) fail("a hidden size of {}: expected a multiple of {}", hidden, vector);
  Plan plan;
  plan.file = "fpf/kernel/ends/head.cuh";
  plan.expression = fmt::format("fpf::kernel::embed<{}, {}>", device_type(dtype), hidden);
  plan.grid.x = detail::blocks(hidden, 128 * vector);
  plan.rows_axis = 2;
  plan.max_rows = 0;
  plan.block.x = 128;
  plan.bytes_per_row = 2 * hidden * detail::element_bytes(dtype);
  return plan;
}

/// Slices of the vocabulary, then the k best of all. LogProbParams for both; `log_prob_blocks` sizes its
/// buffers.
inline constexpr int log_prob_blocks = 132;
inline Plan plan_log_prob_slices(DType dtype, int vocabulary, int k) {
  if (k < 1 || k > 15 || k > vocabulary) fail("the {} best of {} tokens: the kernel takes 1 to 15", k, vocabulary);
  const int slice = (vocabulary + log_prob_blocks - 1) / log_prob_blocks, each = (slice + 255) / 256;
  Plan plan;
  plan.file = "fpf/kernel/ends/head.cuh";
  plan.expression =
      fmt::format("fpf::kernel::log_prob_slices<{}, {}, {}, {}>", device_type(dtype), k, log_prob_blocks, each);
  plan.grid.x = log_prob_blocks;
  plan.rows_axis = 2;
  plan.max_rows = 0;
  plan.block.x = 256;
  plan.bytes_per_row = vocabulary * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}
inline Plan plan_log_probs(int k) {
  Plan plan;
  plan.file = "fpf/kernel/ends/head.cuh";
  plan.expression = fmt::format("fpf::kernel::log_probs<{}, {}>", k, log_prob_blocks);
  plan.rows_axis = 1;
  plan.max_rows = 0;
  plan.block.x = 256;
  plan.bytes_per_row = log_prob_blocks * (8.0 * k + 8);
  plan.hot = true;
  return plan;
}

}  // namespace fpf::kernel
