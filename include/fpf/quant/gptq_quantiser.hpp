// Quantising a linear layer as GPTQ does (Frantar et al., arXiv:2210.17323).
#pragma once

#include <ATen/ops/argsort.h>

#include <fpf/quant/error_feedback.hpp>
#include <fpf/quant/int4_codes.hpp>

namespace fpf::quant {

namespace detail {

/// Rounds to the grid of a row's group, which is laid when the group begins.
class Int4Rounder {
 public:
  Int4Rounder(const Int4Codes& out, const at::Tensor& shrink, Zeros zeros)
      : codes_(out.codes.data_ptr<std::uint8_t>()),
        zero_(out.zeros.data_ptr<std::uint8_t>()),
        scale_(out.scales.data_ptr<float>()),
        shrink_(shrink.const_data_ptr<float>()),
        in_(out.codes.size(1)),
        groups_(out.scales.size(1)),
        group_(in_ / groups_),
        zeros_(zeros) {}

  void begin(std::int64_t row, std::int64_t first, std::span<const float> values) {
    const std::int64_t i = row * groups_ + first / group_;
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const Int4Grid grid = Int4Grid::over(*low * shrink_[i], *high * shrink_[i], zeros_);
    scale_[i] = grid.scale;
    zero_[i] = static_cast<std::uint8_t>(grid.zero);
  }
  float round(std::int64_t row, std::int64_t input, float value) {
    const std::int64_t i = row * groups_ + input / group_;
    const Int4Grid grid{scale_[i], static_cast<float>(zero_[i])};
    const float code = grid.code(value);
    codes_[row * in_ + input] = static_cast<std::uint8_t>(code);
    return grid.value(code);
  }

 private:
  std::uint8_t* codes_;
  std::uint8_t* zero_;
  float* scale_;
  const float* shrink_;
  std::int64_t in_, groups_, group_;
  Zeros zeros_;
};

}  // namespace detail

/// w [out, in] float32 -> codes in groups of `group` inputs, which divides `in`. With `by_activation`
/// (desc_act) the inputs go by falling mean square, the groups with them. Inputs that were never seen are
/// rounded to nearest.
inline Int4Codes gptq_quantise(const at::Tensor& w, std::int64_t group, Zeros zeros, bool by_activation,
                               const InputStatistics& inputs) {
  if (!inputs.known()) return round_to_groups(w, group, zeros, search_shrink(w, group, zeros, {}));
  const std::int64_t out = w.size(0), in = w.size(1);
  at::Tensor order = at::arange(in, at::kLong);
  if (by_activation)
    order = at::argsort(inputs.gram.diagonal(), /*stable=*/true, /*dim=*/0, /*descending=*/true);
  const at::Tensor walked = w.index_select(1, order);
  InputStatistics ordered = inputs;
  ordered.gram = inputs.gram.index_select(0, order).index_select(1, order);
  Int4Codes result = {at::empty({out, in}, at::kByte), at::empty({out, in / group}, at::kFloat),
                      at::empty({out, in / group}, at::kByte), at::empty({in}, at::kInt)};
  const at::Tensor shrink = search_shrink(walked, group, zeros, ordered.gram);
  detail::Int4Rounder rounder(result, shrink, zeros);
  feed_back_errors(walked, inverse_factor(ordered), group, rounder);
  const at::Tensor back = at::argsort(order);
  result.codes = result.codes.index_select(1, back);
  result.group_of = at::arange(in, at::kInt).div(group, "floor").index_select(0, back);
  return result;
}

}  // namespace fpf::quant
