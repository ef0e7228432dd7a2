// Rounding a matrix to 4-bit codes with a scale and a zero per group of inputs: what AWQ and GPTQ checkpoints
// hold.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fpf/core/half.hpp>

namespace fpf::checkpoint {

/// Which zeros a format can hold.
enum class Zeros : std::uint8_t {
  middle,   // always 8: a symmetric grid
  any,      // 0 to 15
  from_one  // 1 to 15: GPTQ's version 1 stores one less
};

/// The values (code - zero) * scale of codes 0 to 15. The scale is a float16, the zero a whole number.
struct Int4Grid {
  float scale = 1;
  float zero = 8;

  /// The nearest code, ties to even.
  float code(float value) const {
    const float steps = std::clamp(value / scale, -32.0f, 32.0f);
    constexpr float shift = 0x1.8p23f;  // adding it leaves no bits for a fraction
    return std::clamp((steps + shift) - shift + zero, 0.0f, 15.0f);
  }
  float value(float code) const { return (code - zero) * scale; }

  /// The grid over [low, high], which holds 0.
  static Int4Grid over(float low, float high, Zeros zeros) {
    low = std::min(low, 0.0f);
    high = std::max(high, 0.0f);
    if (zeros == Zeros::middle) return {as_scale(std::max(-low / 8, high / 7)), 8};
    Int4Grid grid{as_scale((high - low) / 15), 0};
    grid.zero = std::clamp(std::nearbyint(-low / grid.scale), 0.0f, 15.0f);
    if (zeros == Zeros::from_one && grid.zero < 1) grid = {as_scale(high / 14), 1};
    return grid;
  }

 private:
  static float as_scale(float step) {
    constexpr float least = 0x1p-24f, most = 65504.0f;  // of float16
    return float32_from_float16(float16_from_float32(std::clamp(step, least, most)));
  }
};

/// A matrix [out, in] in 4-bit codes.
struct Int4Codes {
  at::Tensor codes;     // [out, in] uint8
  at::Tensor scales;    // [out, groups] float32, float16's values
  at::Tensor zeros;     // [out, groups] uint8
  at::Tensor group_of;  // [in] int32: the group of each input

  /// [out, in] float32: what the codes stand for.
  at::Tensor values() const {
    const at::Tensor column_group = group_of.to(at::kLong);
    return (codes.to(at::kFloat) - zeros.to(at::kFloat).index_select(1, column_group)) *
           scales.index_select(1, column_group);
  }
};

/// The range of values that each group of inputs spans, [out, groups] float32: low is at most 0, high at
/// least.
struct GroupRanges {
  at::Tensor low, high;

  /// All of w's: w [out, in] float32, `group` divides `in`.
  static GroupRanges of(const at::Tensor& w, std::int64_t group) {
    const auto [low, high] = at::aminmax(w.reshape({w.size(0), w.size(1) / group, group}), -1);
    return {low.clamp_max(0), high.clamp_min(0)};
  }
};

namespace detail {

/// Calls f(index of the group, its grid, its first weight) for every group of every row, in parallel; groups
/// of a row lie one after another.
template <class F>
void for_each_grid(const at::Tensor& w, std::int64_t group, Zeros zeros, const GroupRanges& ranges, F f) {
  const at::Tensor values = w.contiguous(), low = ranges.low.contiguous(), high = ranges.high.contiguous();
  const auto *const source = values.const_data_ptr<float>(), *const lows = low.const_data_ptr<float>(),
                    *const highs = high.const_data_ptr<float>();
  at::parallel_for(0, w.numel() / group, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i, Int4Grid::over(lows[i], highs[i], zeros), source + i * group);
  });
}

}  // namespace detail

/// Rounds w [out, in] float32 to nearest, in groups of `group` inputs (which divides `in`), each on the grid
/// over its range.
inline Int4Codes round_to_groups(const at::Tensor& w, std::int64_t group, Zeros zeros, const GroupRanges& ranges) {
  const std::int64_t out = w.size(0), in = w.size(1), groups = in / group;
  Int4Codes result{at::empty({out, in}, at::kByte), at::empty({out, groups}, at::kFloat),
                   at::empty({out, groups}, at::kByte), at::arange(in, at::kInt).div(group, "floor")};
  auto* const codes = result.codes.data_ptr<std::uint8_t>();
  auto* const zero = result.zeros.data_ptr<std::uint8_t>();
  auto* const scale = result.scales.data_ptr<float>();
  detail::for_each_grid(w, group, zeros, ranges, [=](std::int64_t i, const Int4Grid& grid, const float* values) {
    scale[i] = grid.scale;
    zero[i] = static_cast<std::uint8_t>(grid.zero);
    for (std::int64_t k = 0; k < group; ++k) codes[i * group + k] = static_cast<std::uint8_t>(grid.code(values[k]));
  });
  return result;
}

/// The blocks [groups, group, group] of a Gram matrix [in, in] that belong to groups of inputs.
inline at::Tensor diagonal_blocks(const at::Tensor& gram, std::int64_t group) {
  const std::int64_t groups = gram.size(0) / group;
  return gram.view({groups, group, groups, group}).diagonal(0, 0, 2).permute({2, 0, 1}).contiguous();
}

/// What errors [groups, out, group] cost each group, [out, groups]: the mean square of the group's part of
/// the product where the Gram matrix's blocks are known, else the sum of their fourth powers: squares would
/// cut off the few large weights that massive activations need.
inline at::Tensor group_costs(const at::Tensor& errors, const at::Tensor& blocks) {
  return (blocks.defined() ? at::bmm(errors, blocks).mul_(errors) : errors.pow(4)).sum(-1).t().contiguous();
}

/// The cost of rounding w to those ranges, [out, groups].
inline at::Tensor rounding_costs(const at::Tensor& w, std::int64_t group, Zeros zeros, const GroupRanges& ranges,
                                 const at::Tensor& blocks) {
  const std::int64_t out = w.size(0), groups = w.size(1) / group;
  at::Tensor errors = at::empty({groups, out, group}, at::kFloat);
  auto* const first = errors.data_ptr<float>();
  detail::for_each_grid(w, group, zeros, ranges, [=](std::int64_t i, const Int4Grid& grid, const float* values) {
    float* const error = first + (i % groups * out + i / groups) * group;
    for (std::int64_t k = 0; k < group; ++k) error[k] = grid.value(grid.code(values[k])) - values[k];
  });
  return group_costs(errors, blocks);
}

/// Ranges that cost each group least (AWQ's search for clipping, Lin et al., arXiv:2306.00978): of all of w's
/// times 1, 0.95, ... 0.55, and then, where grids have zeros of their own, each end moved by itself. `gram`
/// [in, in] of the inputs may be undefined.
inline GroupRanges search_ranges(const at::Tensor& w, std::int64_t group, Zeros zeros, const at::Tensor& gram) {
  const GroupRanges whole = GroupRanges::of(w, group);
  const at::Tensor blocks = gram.defined() ? diagonal_blocks(gram, group) : gram;
  at::Tensor low = at::ones_like(whole.low), high = low, best = rounding_costs(w, group, zeros, whole, blocks);
  const auto attempt = [&](const at::Tensor& candidate_low, const at::Tensor& candidate_high) {
    const at::Tensor cost =
        rounding_costs(w, group, zeros, {whole.low * candidate_low, whole.high * candidate_high}, blocks);
    const at::Tensor better = cost.lt(best);
    low = at::where(better, candidate_low, low);
    high = at::where(better, candidate_high, high);
    best = at::where(better, cost, best);
  };
  for (int i = 1; i < 10; ++i) attempt(at::full_like(low, 1 - 0.05 * i), at::full_like(low, 1 - 0.05 * i));
  if (zeros != Zeros::middle)
    for (int round = 0; round < 2; ++round)
      for (const bool lower : {true, false}) {
        const at::Tensor base_low = low, base_high = high;
        for (const double step : {-0.12, -0.08, -0.04, 0.04, 0.08, 0.12})
          attempt(lower ? base_low + step : base_low, lower ? base_high : base_high + step);
      }
  return {whole.low * low, whole.high * high};
}

}  // namespace fpf::checkpoint
