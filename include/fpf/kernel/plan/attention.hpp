// Plans for attention: rotary embedding and append, the forms of attention.
#pragma once

#include <fpf/kernel/plan/plan.hpp>

namespace fpf::kernel {

namespace detail {

inline void check_heads(const AttentionShape& shape) {
  if (shape.head_dim % 64 != 0)
    fail("heads of {} dimensions: the attention kernels take multiples of 64", shape.head_dim);
  if (shape.heads % shape.kv_heads != 0 || shape.heads / shape.kv_heads > most_group)
    fail("{} query heads on {} kv heads: the attention kernels take 1 to {} for each", shape.heads, shape.kv_heads,
         most_group);
}

}  // namespace detail

/// Norm and rotary embedding of q and k, and the append. AttentionParams. round: as separate operations.
inline Plan plan_rope_append(DType dtype, const AttentionShape& shape, bool round) {
  detail::check_heads(shape);
  Plan plan = plan_of("attention/rope.cuh", "rope_append",
                      {{"T", device_type(dtype)},
                       {"Heads", shape.heads},
                       {"KvHeads", shape.kv_heads},
                       {"HeadDim", shape.head_dim},
                       {"HeadNorm", shape.head_norm},
                       {"Round", round}});
  detail::launch_in_steps(plan, {static_cast<unsigned>(shape.heads + 2 * shape.kv_heads)}, 2, threads_of::warp);
  plan.max_rows = 0;
  plan.bytes_per_row = 2.0 * (shape.heads + 2 * shape.kv_heads) * shape.head_dim * detail::element_bytes(dtype);
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
    plan = plan_of("attention/attention_float.cuh", "attend_float",
                   {{"Heads", shape.heads},
                    {"KvHeads", shape.kv_heads},
                    {"HeadDim", shape.head_dim},
                    {"Splits", shape.splits},
                    {"Warps", warps}});
  } else {
    plan = plan_of("attention/attention.cuh", "attend",
                   {{"T", device_type(dtype)},
                    {"Heads", shape.heads},
                    {"KvHeads", shape.kv_heads},
                    {"HeadDim", shape.head_dim},
                    {"Splits", shape.splits},
                    {"Warps", warps},
                    {"Fused", fused},
                    {"HeadNorm", shape.head_norm}});
    plan.shared_fixed = static_cast<unsigned>(warps * attend_warp_bytes(shape.head_dim));
  }
  detail::launch_in_steps(plan, {static_cast<unsigned>(shape.splits), static_cast<unsigned>(shape.kv_heads), 1}, 3,
                          32 * warps);
  plan.bytes_per_row = 4.0 * shape.heads * shape.head_dim * shape.splits;
  plan.bytes_per_position = 2.0 * shape.kv_heads * shape.head_dim * detail::element_bytes(dtype);
  return plan;
}

/// The parts put together. AttentionParams.
inline Plan plan_combine(DType dtype, const AttentionShape& shape) {
  detail::check_heads(shape);
  Plan plan = plan_of(
      "attention/attention.cuh", "combine",
      {{"T", device_type(dtype)}, {"Heads", shape.heads}, {"HeadDim", shape.head_dim}, {"Splits", shape.splits}});
  detail::launch_in_steps(plan, {static_cast<unsigned>(shape.heads * shape.head_dim / 32)}, 2, threads_of::combine);
  plan.bytes_per_row = 4.0 * shape.heads * shape.head_dim * shape.splits;
  return plan;
}

/// The three kernels of attention_eager.cuh. AttentionParams.
inline Plan plan_eager_scores(DType dtype, const AttentionShape& shape) {
  detail::check_heads(shape);
  Plan plan = plan_of(
      "attention/attention_eager.cuh", "eager_scores",
      {{"T", device_type(dtype)}, {"Heads", shape.heads}, {"KvHeads", shape.kv_heads}, {"HeadDim", shape.head_dim}});
  detail::launch_in_steps(plan, {static_cast<unsigned>(shape.splits), static_cast<unsigned>(shape.kv_heads), 1}, 3,
                          threads_of::eager_scores);
  plan.bytes_per_position = (1.0 * shape.kv_heads * shape.head_dim + shape.heads) * detail::element_bytes(dtype);
  return plan;
}
inline Plan plan_eager_softmax(DType dtype, const AttentionShape& shape) {
  Plan plan =
      plan_of("attention/attention_eager.cuh", "eager_softmax", {{"T", device_type(dtype)}, {"Heads", shape.heads}});
  detail::launch_in_steps(plan, {static_cast<unsigned>(shape.heads)}, 2, threads_of::eager_softmax);
  plan.bytes_per_position = 2.0 * shape.heads * detail::element_bytes(dtype);
  return plan;
}
inline Plan plan_eager_product(DType dtype, const AttentionShape& shape) {
  detail::check_heads(shape);
  constexpr int warps = 16;
  Plan plan = plan_of("attention/attention_eager.cuh", "eager_product",
                      {{"T", device_type(dtype)},
                       {"Heads", shape.heads},
                       {"KvHeads", shape.kv_heads},
                       {"HeadDim", shape.head_dim},
                       {"Warps", warps}});
  detail::launch_in_steps(plan, {static_cast<unsigned>(shape.heads)}, 2, 32 * warps);
  plan.bytes_per_position = (1.0 * shape.kv_heads * shape.head_dim + shape.heads) * detail::element_bytes(dtype);
  return plan;
}

/// Bytes of AttentionParams::partial and ::partial_stats for so many rows.
inline std::size_t partial_bytes(const AttentionShape& shape, int rows) {
  return sizeof(float) * static_cast<std::size_t>(rows * shape.heads * shape.splits * shape.head_dim);
}
inline std::size_t partial_stats_bytes(const AttentionShape& shape, int rows) {
  return sizeof(float) * static_cast<std::size_t>(rows * shape.heads * shape.splits * 2);
}

}  // namespace fpf::kernel
