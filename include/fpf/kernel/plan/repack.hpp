// Plans for weights on their way in: from checkpoints' layouts to packed matrices, and from there to dense ones.
#pragma once

#include <fpf/kernel/plan/plan.hpp>
#include <string>

namespace fpf::kernel {

/// Which checkpoint layout a matrix comes from.
enum class Layout { awq, gptq, bitsandbytes };

namespace detail {

inline std::string device_layout(Layout layout) {
  switch (layout) {
    case Layout::awq:
      return "fpf::kernel::Awq";
    case Layout::gptq:
      return "fpf::kernel::Gptq";
    case Layout::bitsandbytes:
      break;
  }
  return "fpf::kernel::BitsAndBytes";
}

}  // namespace detail

/// Codes of an [n, k] matrix into packed form. RepackParams.
inline Plan plan_repack_codes(Layout layout, const WeightFormat& format, DType dtype, int n, int k) {
  if (layout == Layout::awq && n % 8 != 0) fail("an AWQ matrix with {} output features: expected a multiple of 8", n);
  Plan plan = plan_of("weights/repack.cuh", "repack_codes",
                      {{"Format", detail::device_layout(layout)}, {"Weight", format.type(k, dtype)}});
  plan.grid = {detail::blocks(n, repack_rows), static_cast<unsigned>(k / 8 / repack_words), 1};
  plan.block = {repack_rows, repack_words, 1};
  plan.fixed_bytes = static_cast<double>(n) * k;
  return plan;
}

/// Scales and zeros, or NF4's maxima and map. RepackParams.
inline Plan plan_repack_scales(Layout layout, const WeightFormat& format, DType dtype, int n, int k) {
  const std::string weight = format.type(k, dtype);
  const bool nf4 = layout == Layout::bitsandbytes;
  Plan plan = nf4 ? plan_of("weights/nf4.cuh", "repack_absmax", {{"Weight", weight}})
                  : plan_of("weights/int4.cuh", "repack_scales",
                            {{"Format", detail::device_layout(layout)}, {"Weight", weight}});
  plan.grid.x = detail::blocks(nf4 ? n * (k / Nf4Layout::block) : n, threads_of::repack);
  plan.block.x = threads_of::repack;
  return plan;
}

/// A packed [n, k] matrix to a dense one. DequantiseParams.
inline Plan plan_dequantise(const WeightFormat& format, DType dtype, int n, int k) {
  Plan plan =
      plan_of("weights/repack.cuh", "dequantise", {{"Weight", format.type(k, dtype)}, {"T", device_type(dtype)}});
  plan.grid = {static_cast<unsigned>(n), detail::blocks(k, dequantised_columns), 1};
  plan.block.x = threads_of::dequantise;
  plan.fixed_bytes = static_cast<double>(n) * k * (0.5 + detail::element_bytes(dtype));
  return plan;
}

/// One projection of all experts to a dense [experts, n, k]. StackParams.
inline Plan plan_dequantise_stack(const WeightFormat& format, DType dtype, int n, int k, int experts) {
  const Plan one = plan_dequantise(format, dtype, n, k);
  Plan plan =
      plan_of("weights/repack.cuh", "dequantise_stack", {{"Weight", format.type(k, dtype)}, {"T", device_type(dtype)}});
  plan.grid = {one.grid.x, one.grid.y, static_cast<unsigned>(experts)};
  plan.block = one.block;
  plan.fixed_bytes = one.fixed_bytes * experts;
  return plan;
}

}  // namespace fpf::kernel
