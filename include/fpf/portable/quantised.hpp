// Layers of the quantisation policies as panels: their codes as they are, scales in float32.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <fpf/portable/panels.hpp>
#include <fpf/quant/awq.hpp>
#include <fpf/quant/gptq.hpp>
#include <fpf/quant/nf4.hpp>
#include <fpf/quant/none.hpp>
#include <numeric>

namespace fpf::portable {

/// GGUF's blocks: codes with a scale, a zero or a minimum for 32 columns each.
inline Panels panels_of(const quant::GgufBlocks& blocks) {
  using weights::Format;
  const bool bytes = blocks.format == Format::q8_0;
  Panels out = code_panels(bytes ? Panels::Kind::bytes : Panels::Kind::int4, Arithmetic::integers, blocks.out(),
                           Columns(Arithmetic::integers, even_ends(blocks.in, quant::GgufBlocks::length)));
  if (blocks.format == Format::q4_1) {
    out.minima = at::zeros_like(out.scales);
    out.zeros.reset();
  }
  for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    const std::int64_t side = out.side(panel, 0), count = out.columns.count() * lanes;
    std::fill_n(out.scales_of(panel, 0), count, 0.0f);
    if (out.zeros.defined()) std::fill_n(out.zeros_of(panel, 0), count, std::uint8_t(bytes ? 128 : 8));
    for (std::int64_t group = 0; group < out.columns.count(); ++group)
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto [scale, minimum] = blocks.scale(panel * lanes + row, group);
        out.scales_of(panel, group)[row] = scale;
        if (out.minima.defined()) out.minima.data_ptr<float>()[side + group * lanes + row] = minimum;
      }
    put_codes(out, panel, [&](std::int64_t input, std::uint8_t(&codes)[lanes]) {
      for (std::int64_t row = 0; row < rows; ++row) codes[row] = blocks.code(panel * lanes + row, input);
    });
  });
  return out;
}

/// Dense weights: as they are for chains, as integers otherwise.
inline Panels panels_of(const quant::None::Weight& weight, Arithmetic arithmetic, at::ScalarType dtype) {
  if (arithmetic == Arithmetic::chains) return dense_panels(quant::None::dequantise(weight, dtype));
  return weight.blocks ? panels_of(*weight.blocks) : slice_panels(weight.matrix);
}

inline Panels panels_of(const quant::Awq::Weight& weight, Arithmetic arithmetic, at::ScalarType) {
  const quant::AwqView view = weight.view();
  std::vector<std::int64_t> ends;
  for (std::int64_t end = view.group - view.skip; end < view.in; end += view.group) ends.push_back(end);
  ends.push_back(view.in);
  Panels out = code_panels(Panels::Kind::int4, arithmetic, view.out, Columns(arithmetic, ends));
  const std::vector<std::int64_t> stored = stored_groups(out.columns, ends);
  for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    const std::int64_t first = panel * lanes, words = rows / 8;
    put_codes(out, panel, [&](std::int64_t k, std::uint8_t(&codes)[lanes]) {
      for (std::int64_t w = 0; w < words; ++w)
        quant::awq_unpack(view.qweight[k * view.stride + first / 8 + w], codes + 8 * w);
    });
    for (std::int64_t group = 0; group < out.columns.count(); ++group) {
      const std::int64_t from = stored[static_cast<std::size_t>(group)];
      float* const scales = out.scales_of(panel, group);
      std::uint8_t* const zeros = out.zeros_of(panel, group);
      std::fill_n(scales, lanes, 0.0f);
      std::fill_n(zeros, lanes, std::uint8_t{8});
      view.scales.read(from, first, rows, scales);
      if (view.qzeros == nullptr) continue;
      for (std::int64_t w = 0; w < words; ++w)
        quant::awq_unpack(view.qzeros[from * view.stride + first / 8 + w], zeros + 8 * w);
    }
  });
  return out;
}

/// Columns stand by group, then by input: as they are unless the layer has desc_act.
inline Panels panels_of(const quant::Gptq::Weight& weight, Arithmetic arithmetic, at::ScalarType) {
  const quant::GptqView view = weight.view();
  std::vector<std::int32_t> order(static_cast<std::size_t>(view.in));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return view.group_of(a) < view.group_of(b); });
  std::vector<std::int64_t> ends;
  std::vector<std::int64_t> group_of;  // of the stored groups, those that this part has
  for (std::int64_t k = 0; k < view.in; ++k)
    if (const std::int64_t group = view.group_of(order[static_cast<std::size_t>(k)]);
        group_of.empty() || group != group_of.back()) {
      if (k > 0) ends.push_back(k);
      group_of.push_back(group);
    }
  ends.push_back(view.in);
  if (std::is_sorted(order.begin(), order.end())) order.clear();
  if (!order.empty() && !weight.all_inputs)
    fail("a GPTQ layer with desc_act cannot be split by its inputs: its reduction runs by group");
  Panels out = code_panels(Panels::Kind::int4, arithmetic, view.out, Columns(arithmetic, ends, std::move(order)));
  const std::vector<std::int64_t> part = stored_groups(out.columns, ends);
  for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    const std::int64_t first = panel * lanes;
    put_codes(out, panel, [&](std::int64_t input, std::uint8_t(&codes)[lanes]) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto word = static_cast<std::uint32_t>(view.qweight[input / 8 * view.qweight_stride + first + row]);
        codes[row] = static_cast<std::uint8_t>((word >> (4 * (input % 8))) & 15u);
      }
    });
    for (std::int64_t group = 0; group < out.columns.count(); ++group) {
      float* const scales = out.scales_of(panel, group);
      std::uint8_t* const zeros = out.zeros_of(panel, group);
      std::fill_n(scales, lanes, 0.0f);
      std::fill_n(zeros, lanes, std::uint8_t{0});
      const std::int64_t stored = group_of[static_cast<std::size_t>(part[static_cast<std::size_t>(group)])];
      view.scales.read(stored, first, rows, scales);
      for (std::int64_t row = 0; row < rows; ++row)
        zeros[row] = static_cast<std::uint8_t>(quant::gptq_zero(view, stored, first + row));
    }
  });
  return out;
}

/// Where blocks end within rows, chains take the layer dense, in float32, of the same values; for integers, columns
/// share a scale as far as the greatest common divisor of blocks and rows goes.
inline Panels panels_of(const quant::Nf4::Weight& weight, Arithmetic arithmetic, at::ScalarType) {
  const quant::Nf4View view = weight.view();
  std::int64_t length = view.blocksize;
  for (const std::int64_t edge : {view.in, weight.ins.begin, weight.ins.end}) length = std::gcd(length, edge);
  if (arithmetic == Arithmetic::chains && length != view.blocksize)
    return dense_panels(quant::Nf4::dequantise(weight, at::kFloat));
  Panels out = code_panels(Panels::Kind::map, arithmetic, weight.outs.size(),
                           Columns(arithmetic, even_ends(weight.ins.size(), length)));
  std::copy(view.quant_map.begin(), view.quant_map.end(), out.map.begin());
  if (std::ranges::any_of(out.map, [](float value) { return !(std::abs(value) <= 1.0f); }))
    fail("an NF4 layer's quant_map has values beyond -1..1: portable execution takes none of them");
  const float unit = arithmetic == Arithmetic::chains ? 1.0f : map_value;
  const std::vector<std::int64_t> part = stored_groups(out.columns, even_ends(weight.ins.size(), length));
  for_panels(out, [&](std::int64_t panel, std::int64_t rows) {
    const auto element = [&](std::int64_t row) {
      return (weight.outs.begin + panel * lanes + row) * view.in + weight.ins.begin;
    };
    std::fill_n(out.scales_of(panel, 0), out.columns.count() * lanes, 0.0f);
    put_codes(out, panel, [&](std::int64_t k, std::uint8_t(&codes)[lanes]) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t at = element(row) + k;
        const std::uint8_t pair = view.codes[at / 2];
        codes[row] = at % 2 == 0 ? pair >> 4 : pair & 15;
      }
    });
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t group = 0; group < out.columns.count(); ++group) {
        const std::int64_t first = part[static_cast<std::size_t>(group)] * length;
        out.scales_of(panel, group)[row] = mul(view.scale((element(row) + first) / view.blocksize), unit);
      }
  });
  return out;
}

}  // namespace fpf::portable
