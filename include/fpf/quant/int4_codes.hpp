// Rounding a matrix to 4-bit codes with a scale and a zero per group of inputs: what AWQ and GPTQ checkpoints
// hold.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fpf/core/half.hpp>

namespace fpf::quant {

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

/// Rounds w [out, in] float32 to nearest, in groups of `group` inputs (which divides `in`), each on the grid
/// over its own range times its entry of `shrink` [out, groups].
inline Int4Codes round_to_groups(const at::Tensor& w, std::int64_t group, Zeros zeros,
                                 const at::Tensor& shrink) {
  const std::int64_t out = w.size(0), in = w.size(1), groups = in / group;
  Int4Codes result{at::empty({out, in}, at::kByte), at::empty({out, groups}, at::kFloat),
                   at::empty({out, groups}, at::kByte), at::arange(in, at::kInt).div(group, "floor")};
  const at::Tensor values = w.contiguous(), shrunk = shrink.contiguous();
  const float *const source = values.const_data_ptr<float>(), *const factors = shrunk.const_data_ptr<float>();
  auto* const codes = result.codes.data_ptr<std::uint8_t>();
  auto* const zero = result.zeros.data_ptr<std::uint8_t>();
  auto* const scale = result.scales.data_ptr<float>();
  at::parallel_for(0, out * groups, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {  // groups of a row lie one after another
      const float* const first = source + i * group;
      const auto [low, high] = std::minmax_element(first, first + group);
      const Int4Grid grid = Int4Grid::over(*low * factors[i], *high * factors[i], zeros);
      scale[i] = grid.scale;
      zero[i] = static_cast<std::uint8_t>(grid.zero);
      for (std::int64_t k = 0; k < group; ++k)
        codes[i * group + k] = static_cast<std::uint8_t>(grid.code(first[k]));
    }
  });
  return result;
}

/// The blocks [groups, group, group] of a Gram matrix [in, in] that belong to groups of inputs.
inline at::Tensor diagonal_blocks(const at::Tensor& gram, std::int64_t group) {
  const std::int64_t groups = gram.size(0) / group;
  return gram.view({groups, group, groups, group}).diagonal(0, 0, 2).permute({2, 0, 1}).contiguous();
}

/// How far to shrink each group's range, [out, groups]: of 1, 0.95, ... 0.55 the one with the least error,
/// which is that of the group's part of the product where the inputs' Gram matrix [in, in] is known (AWQ's
/// search, Lin et al., arXiv:2306.00978), else the sum of the fourth powers of the weights' errors: squares
/// would cut off the few large weights that massive activations need.
inline at::Tensor search_shrink(const at::Tensor& w, std::int64_t group, Zeros zeros,
                                const at::Tensor& gram) {
  constexpr int candidates = 10;
  const std::int64_t out = w.size(0), groups = w.size(1) / group;
  const at::Tensor blocks = gram.defined() ? diagonal_blocks(gram, group) : gram;
  at::Tensor best, shrink = at::full({out, groups}, 1.0, at::kFloat);
  for (int i = 0; i < candidates; ++i) {
    const at::Tensor candidate = at::full({out, groups}, 1.0 - 0.05 * i, at::kFloat);
    const at::Tensor error =
        (round_to_groups(w, group, zeros, candidate).values() - w).view({out, groups, group}).transpose(0, 1);
    const at::Tensor cost =
        (blocks.defined() ? at::bmm(error, blocks) * error : error.pow(4)).sum(-1).t();  // [out, groups]
    if (i == 0) {
      best = cost;
      continue;
    }
    const at::Tensor better = cost.lt(best);
    shrink = at::where(better, candidate, shrink);
    best = at::where(better, cost, best);
  }
  return shrink;
}

}  // namespace fpf::quant
