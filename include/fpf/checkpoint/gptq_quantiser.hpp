// Quantising a linear layer as GPTQ does (Frantar et al., arXiv:2210.17323).
#pragma once

#include <fpf/checkpoint/error_feedback.hpp>
#include <fpf/checkpoint/int4_codes.hpp>

namespace fpf::checkpoint {

/// w [out, in] float32 -> codes in groups of `group` inputs, which divides `in`. Grids are laid before the
/// walk (the authors' --static-groups), so that inputs can be rounded by falling activity and stay in the
/// groups they stand in. With `by_activation` (desc_act) the groups go by activity too. Inputs that were
/// never seen are rounded to nearest.
inline Int4Codes gptq_quantise(const at::Tensor& w, std::int64_t group, Zeros zeros, bool by_activation,
                               const InputStatistics& inputs) {
  if (!inputs.known()) return round_to_groups(w, group, zeros, search_ranges(w, group, zeros, {}));
  const at::Tensor order = by_activity(inputs.gram), back = at::argsort(order);
  const InputStatistics walked = reordered(inputs, order);
  const at::Tensor ordered = w.index_select(1, order);
  Int4Codes result = by_activation
                         ? round_to_groups(ordered, group, zeros, search_ranges(ordered, group, zeros, walked.gram))
                         : round_to_groups(w, group, zeros, search_ranges(w, group, zeros, inputs.gram));
  if (by_activation) result.group_of = result.group_of.index_select(0, back);

  const std::int64_t in = w.size(1), groups = in / group;
  const at::Tensor groups_walked = result.group_of.index_select(0, order);
  const auto* const group_of = groups_walked.const_data_ptr<int>();
  const auto* const input_of = order.const_data_ptr<std::int64_t>();
  const auto* const scales = result.scales.const_data_ptr<float>();
  const auto* const zero = result.zeros.const_data_ptr<std::uint8_t>();
  auto* const codes = result.codes.data_ptr<std::uint8_t>();
  feed_back_errors(ordered, inverse_factor(walked), [=](std::int64_t row, std::int64_t place, float value) {
    const std::int64_t i = row * groups + group_of[place];
    const Int4Grid grid{scales[i], static_cast<float>(zero[i])};
    const float code = grid.code(value);
    codes[row * in + input_of[place]] = static_cast<std::uint8_t>(code);
    return grid.value(code);
  });
  return result;
}

}  // namespace fpf::checkpoint
