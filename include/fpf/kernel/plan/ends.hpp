// Plans for norms, element-wise operations and the step's two ends.
#pragma once

#include <fpf/kernel/plan/plan.hpp>

namespace fpf::kernel {

/// RMSNorm of rows of k, after adding a delta where one is given. NormParams. round: as separate operations.
inline Plan plan_rms_norm(DType dtype, int k, bool round) {
  const int vector = in_16_bytes(dtype);
  if (k % vector != 0) fail("a norm over {} {} values: expected a multiple of {}", k, name_of(dtype), vector);
  const int threads = std::clamp(rounded_up(k / vector, 32), 32, 256);
  Plan plan = plan_of("ends/norm.cuh", "rms_norm",
                      {{"T", device_type(dtype)}, {"K", k}, {"Threads", threads}, {"Round", round}});
  detail::launch_in_steps(plan, {}, 1, threads);
  plan.max_rows = 0;
  plan.bytes_per_row = 4 * k * detail::element_bytes(dtype);
  return plan;
}

/// a + b, or silu(a) * b, over `count` elements. ElementwiseParams.
inline Plan plan_elementwise(bool silu_mul, DType dtype, long long count) {
  const int vector = in_16_bytes(dtype);
  if (count % vector != 0) fail("an element-wise operation over {} values: expected a multiple of {}", count, vector);
  Plan plan =
      plan_of("ends/elementwise.cuh", "elementwise",
              {{"Operation", silu_mul ? "fpf::kernel::SiluMul" : "fpf::kernel::Add"}, {"T", device_type(dtype)}});
  plan.grid.x = detail::blocks(count, threads_of::elementwise * vector);
  plan.block.x = threads_of::elementwise;
  plan.max_rows = 0;
  plan.fixed_bytes = 3.0 * static_cast<double>(count) * detail::element_bytes(dtype);
  return plan;
}

/// Embedding rows of token ids. EmbeddingParams.
inline Plan plan_embed(DType dtype, int hidden) {
  const int vector = in_16_bytes(dtype);
  if (hidden % vector != 0) fail("a hidden size of {}: expected a multiple of {}", hidden, vector);
  Plan plan = plan_of("ends/head.cuh", "embed", {{"T", device_type(dtype)}, {"Hidden", hidden}});
  plan.grid.x = detail::blocks(hidden, threads_of::embed * vector);
  plan.rows_axis = 2;
  plan.max_rows = 0;
  plan.block.x = threads_of::embed;
  plan.bytes_per_row = 2 * hidden * detail::element_bytes(dtype);
  return plan;
}

/// Slices of the vocabulary, then the k best of all. LogProbParams for both; `log_prob_blocks` sizes its
/// buffers.
inline constexpr int log_prob_blocks = 132;
inline Plan plan_log_prob_slices(DType dtype, int vocabulary, int k) {
  if (k < 1 || k > most_best(log_prob_blocks) || k > vocabulary)
    fail("the {} best of {} tokens: the kernel takes 1 to {}", k, vocabulary, most_best(log_prob_blocks));
  const int each = ceil_div(ceil_div(vocabulary, log_prob_blocks), threads_of::log_probs);
  Plan plan = plan_of("ends/head.cuh", "log_prob_slices",
                      {{"T", device_type(dtype)}, {"K", k}, {"Blocks", log_prob_blocks}, {"Each", each}});
  detail::launch_in_steps(plan, {log_prob_blocks}, 2, threads_of::log_probs);
  plan.max_rows = 0;
  plan.bytes_per_row = vocabulary * detail::element_bytes(dtype);
  return plan;
}
inline Plan plan_log_probs(int k) {
  Plan plan = plan_of("ends/head.cuh", "log_probs", {{"K", k}, {"Blocks", log_prob_blocks}});
  detail::launch_in_steps(plan, {}, 1, threads_of::log_probs);
  plan.max_rows = 0;
  plan.bytes_per_row = log_prob_blocks * (8.0 * k + 8);
  return plan;
}

}  // namespace fpf::kernel
