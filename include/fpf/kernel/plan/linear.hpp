// Plans for matrix-vector products.
#pragma once

#include <fpf/kernel/plan/plan.hpp>

namespace fpf::kernel {

namespace detail {

/// The tensor cores' form.
inline Plan plan_gemv_rows(const WeightFormat& format, DType dtype, int n, int k, Fusion fusion, int warps) {
  check_tile_type(dtype);
  if (n < tile_rows) fail("a product with {} output features: the tensor cores' kernels take {} or more", n, tile_rows);
  const auto [name, columns, rows, chunk] = format.units(dtype);
  if (n % rows != 0) fail("a {} product with {} output features: expected a multiple of {}", name, n, rows);
  const int parts = ceil_div(k, tile_columns);
  if (warps == 0) warps = parts >= 32 ? 16 : parts >= 8 ? 8 : 4;
  Plan plan = plan_of("product/rows.cuh", "gemv_rows",
                      {{"Weight", format.type(k, dtype)},
                       {"T", device_type(dtype)},
                       {"Warps", warps},
                       {"Norm", fusion.norm},
                       {"Add", fusion.added()}});
  plan.grid.x = blocks(n, tile_rows);
  plan.block.x = 32 * static_cast<unsigned>(warps);
  plan.shared_fixed = format.tile_bytes(k, dtype);
  plan.shared_per_row = format.staged_bytes(k, dtype);
  return plan;
}

/// The form of fused multiply-adds.
inline Plan plan_gemv_fma(const WeightFormat& format, DType dtype, int n, int k, Fusion fusion) {
  const int lanes = std::min(256, rounded_up(k / format.units(dtype).chunk, 32));
  int per_thread = format.is_dense() ? 4 : 8;
  while (per_thread > 1 && n / per_thread < 128) per_thread /= 2;
  if (k * static_cast<int>(size_of(dtype)) > 36 * 1024)
    fail("a product over {} {} columns: x must fit into 36 KB", k, name_of(dtype));
  Plan plan = plan_of("product/gemv.cuh", "gemv",
                      {{"Weight", format.type(k, dtype)},
                       {"T", device_type(dtype)},
                       {"Lanes", lanes},
                       {"Groups", 1},
                       {"PerThread", per_thread},
                       {"Norm", fusion.norm},
                       {"Add", fusion.added()}});
  plan.grid.x = blocks(n, per_thread);
  plan.block.x = static_cast<unsigned>(lanes);
  return plan;
}

}  // namespace detail

/// out [rows, n] = x [rows, k] * matrix. GemvParams. Throws Error for shapes the kernels do not take.
inline Plan plan_gemv(const WeightFormat& format, DType dtype, int n, int k, Fusion fusion, Arithmetic arithmetic,
                      int warps = 0) {
  format.type(k, dtype);  // refuses before anything else does
  Plan plan = arithmetic == Arithmetic::tensor_cores ? detail::plan_gemv_rows(format, dtype, n, k, fusion, warps)
                                                     : detail::plan_gemv_fma(format, dtype, n, k, fusion);
  plan.fixed_bytes = detail::matrix_bytes(format, dtype, n, k) + (fusion.bias ? n * detail::element_bytes(dtype) : 0);
  plan.bytes_per_row = (k + n * (fusion.add ? 2 : 1)) * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

/// The same for a matrix far larger than the chip, the head: `blocks` of them walk over its rows. GemvParams.
inline Plan plan_head(const WeightFormat& format, DType dtype, int n, int k, bool norm, int blocks) {
  constexpr int warps = 8, per_warp = 2;
  Plan plan = plan_of("product/gemv.cuh", "gemv_stream",
                      {{"Weight", format.type(k, dtype)},
                       {"T", device_type(dtype)},
                       {"Warps", warps},
                       {"PerWarp", per_warp},
                       {"Norm", norm}});
  if (n < per_warp) fail("a head with {} rows: expected at least {}", n, per_warp);
  plan.grid.x = std::min(static_cast<unsigned>(blocks), detail::blocks(n, warps * per_warp));
  plan.block.x = 32 * warps;
  plan.shared_per_row = static_cast<unsigned>(format.staged(k, dtype) * static_cast<int>(size_of(dtype)));
  plan.fixed_bytes = detail::matrix_bytes(format, dtype, n, k);
  plan.bytes_per_row = (k + n) * detail::element_bytes(dtype);
  plan.hot = true;
  return plan;
}

}  // namespace fpf::kernel
