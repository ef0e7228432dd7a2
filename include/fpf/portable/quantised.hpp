// Layers of the quantisation policies as panels: their codes as they are, scales in float32.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <fpf/portable/panels.hpp>
#include <fpf/quant/awq.hpp>
#include <fpf/quant/gptq.hpp>
#include <fpf/quant/nf4.hpp>
#include <fpf/quant/none.hpp>
#include <numeric>

namespace fpf::portable {

namespace detail {

/// Fills panel after panel in parallel; fill(panel, rows of it).
template <class Fill>
void for_panels(const Panels& panels, Fill fill) {
  at::parallel_for(0, panels.panels(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel)
      fill(panel, std::min<std::int64_t>(lanes, panels.n - panel * lanes));
  });
}

inline float* scales_at(Panels& panels, std::int64_t panel, std::int64_t group) {
  return panels.scales.data_ptr<float>() + (panel * panels.groups() + group) * lanes;
}
inline std::uint8_t* zeros_at(Panels& panels, std::int64_t panel, std::int64_t group) {
  return panels.zeros.data_ptr<std::uint8_t>() + (panel * panels.groups() + group) * lanes;
}

}  // namespace detail

inline Panels panels_of(const quant::None::Weight& weight) { return dense_panels(weight.matrix); }

inline Panels panels_of(const quant::Awq::Weight& weight) {
  const quant::AwqView view = weight.view();
  std::vector<std::int64_t> groups{0};
  for (std::int64_t end = view.group - view.skip; end < view.in; end += view.group) groups.push_back(end);
  groups.push_back(view.in);
  Panels out = code_panels(Panels::Kind::int4, view.out, view.in, std::move(groups));
  detail::for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    std::uint8_t* const codes = out.values.data_ptr<std::uint8_t>() + panel * out.k * 8;
    const std::int64_t first = panel * lanes, words = rows / 8;
    std::uint8_t columns[lanes] = {};
    for (std::int64_t k = 0; k < out.k; ++k) {
      for (std::int64_t w = 0; w < words; ++w)
        quant::awq_unpack(view.qweight[k * view.stride + first / 8 + w], columns + 8 * w);
      put_codes(columns, codes + 8 * k);
    }
    for (std::int64_t group = 0; group < out.groups(); ++group) {
      float* const scales = detail::scales_at(out, panel, group);
      std::uint8_t* const zeros = detail::zeros_at(out, panel, group);
      std::fill_n(scales, lanes, 0.0f);
      std::fill_n(zeros, lanes, std::uint8_t{8});
      view.scales.read(group, first, rows, scales);
      if (view.qzeros == nullptr) continue;
      for (std::int64_t w = 0; w < words; ++w)
        quant::awq_unpack(view.qzeros[group * view.stride + first / 8 + w], zeros + 8 * w);
    }
  });
  return out;
}

/// Columns stand by group, then by input: as they are unless the layer has desc_act.
inline Panels panels_of(const quant::Gptq::Weight& weight) {
  const quant::GptqView view = weight.view();
  std::vector<std::int32_t> order(static_cast<std::size_t>(view.in));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return view.g_idx[a] < view.g_idx[b]; });
  std::vector<std::int64_t> begin;
  std::vector<std::int32_t> group_of;  // of the stored groups, those that this part has
  for (std::int64_t k = 0; k < view.in; ++k)
    if (const std::int32_t group = view.g_idx[order[static_cast<std::size_t>(k)]];
        group_of.empty() || group != group_of.back()) {
      group_of.push_back(group);
      begin.push_back(k);
    }
  begin.push_back(view.in);
  Panels out = code_panels(Panels::Kind::int4, view.out, view.in, std::move(begin));
  if (!std::is_sorted(order.begin(), order.end())) {
    if (!weight.all_inputs)
      fail("a GPTQ layer with desc_act cannot be split by its inputs: its reduction runs by group");
    out.order = order;
  }
  detail::for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    std::uint8_t* const codes = out.values.data_ptr<std::uint8_t>() + panel * out.k * 8;
    const std::int64_t first = panel * lanes;
    for (std::int64_t k = 0; k < out.k; ++k) {
      const std::int64_t input = order[static_cast<std::size_t>(k)];
      std::uint8_t column[lanes] = {};
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto word = static_cast<std::uint32_t>(view.qweight[input / 8 * view.qweight_stride + first + row]);
        column[row] = static_cast<std::uint8_t>((word >> (4 * (input % 8))) & 15u);
      }
      put_codes(column, codes + 8 * k);
    }
    for (std::int64_t group = 0; group < out.groups(); ++group) {
      float* const scales = detail::scales_at(out, panel, group);
      std::uint8_t* const zeros = detail::zeros_at(out, panel, group);
      std::fill_n(scales, lanes, 0.0f);
      std::fill_n(zeros, lanes, std::uint8_t{0});
      const std::int64_t stored = group_of[static_cast<std::size_t>(group)];
      view.scales.read(stored, first, rows, scales);
      for (std::int64_t row = 0; row < rows; ++row)
        zeros[row] = static_cast<std::uint8_t>(quant::gptq_zero(view, stored, first + row));
    }
  });
  return out;
}

/// Blocks that end within rows have no panels: such a layer is kept dense, in float32, of the same values.
inline Panels panels_of(const quant::Nf4::Weight& weight) {
  const quant::Nf4View view = weight.view();
  for (const std::int64_t edge : {view.in, weight.ins.begin, weight.ins.end})
    if (edge % view.blocksize != 0) return dense_panels(quant::Nf4::dequantise(weight, at::kFloat));
  Panels out = code_panels(Panels::Kind::map, weight.outs.size(), weight.ins.size(),
                           even_groups(weight.ins.size(), view.blocksize));
  std::copy(view.quant_map.begin(), view.quant_map.end(), out.map.begin());
  detail::for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    std::uint8_t* const codes = out.values.data_ptr<std::uint8_t>() + panel * out.k * 8;
    std::fill_n(codes, out.k * 8, std::uint8_t{0});
    std::fill_n(detail::scales_at(out, panel, 0), out.groups() * lanes, 0.0f);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t element = (weight.outs.begin + panel * lanes + row) * view.in + weight.ins.begin;
      for (std::int64_t k = 0; k < out.k; ++k) {
        const std::uint8_t pair = view.codes[(element + k) / 2];
        const int code = (element + k) % 2 == 0 ? pair >> 4 : pair & 15;
        codes[8 * k + row % 8] |= static_cast<std::uint8_t>(row < 8 ? code : code << 4);
      }
      for (std::int64_t group = 0; group < out.groups(); ++group)
        detail::scales_at(out, panel, group)[row] = view.scale(element / view.blocksize + group);
    }
  });
  return out;
}

}  // namespace fpf::portable
