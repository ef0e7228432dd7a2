// Quantising a linear layer to bitsandbytes' nested NF4 (QLoRA, arXiv:2305.14314).
#pragma once

#include <ATen/ops/from_blob.h>

#include <fpf/checkpoint/error_feedback.hpp>
#include <fpf/checkpoint/int4_codes.hpp>
#include <fpf/quant/nf4_format.hpp>

namespace fpf::checkpoint {

/// A matrix in nested NF4, and the values it stands for.
struct Nf4Codes {
  std::vector<std::uint8_t> codes;  // two a byte
  quant::Nf4Nested maxima;
  at::Tensor values;  // [out, in] float32
};

namespace detail {

inline constexpr std::int64_t nf4_block = 64;

/// Block maxima as the nested form gives them back.
inline std::vector<float> unnested(const quant::Nf4Nested& nested) {
  const quant::Nf4View view{
      .nested_codes = nested.codes.data(), .nested_absmax = nested.absmax.data(), .nested_offset = nested.offset};
  std::vector<float> out(nested.codes.size());
  for (std::size_t block = 0; block < out.size(); ++block) out[block] = view.scale(static_cast<std::int64_t>(block));
  return out;
}

/// The code of the nearest NF4 value under a block's maximum.
inline std::uint8_t nf4_nearest(float value, float largest) {
  static constexpr std::array<float, 15> bounds = [] {
    std::array<float, 15> out{};
    for (std::size_t i = 0; i < 15; ++i) out[i] = (weights::nf4_code[i] + weights::nf4_code[i + 1]) / 2;
    return out;
  }();
  constexpr float least = 1e-38f;
  const float scaled = value / (std::abs(largest) < least ? least : largest);
  std::uint8_t code = 0;  // compared with all bounds: no branch to guess
  for (const float bound : bounds) code = static_cast<std::uint8_t>(code + (scaled > bound ? 1 : 0));
  return code;
}

/// The cost of rounding w [out, in] under these maxima [out, in / 64] of its blocks, see group_costs.
inline at::Tensor nf4_costs(const at::Tensor& w, const at::Tensor& maxima, const at::Tensor& gram_blocks) {
  const std::int64_t out = w.size(0), blocks = w.size(1) / nf4_block;
  at::Tensor errors = at::empty({blocks, out, nf4_block}, at::kFloat);
  auto* const first = errors.data_ptr<float>();
  const auto *const values = w.const_data_ptr<float>(), *const largest = maxima.const_data_ptr<float>();
  at::parallel_for(0, out * blocks, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t k = 0; k < nf4_block; ++k) {
        const float value = values[i * nf4_block + k];
        first[(i % blocks * out + i / blocks) * nf4_block + k] =
            weights::nf4_code[nf4_nearest(value, largest[i])] * largest[i] - value;
      }
  });
  return group_costs(errors, gram_blocks);
}

/// Of the blocks' maxima [out, in / 64] times 1, 0.95, ... 0.65 those that cost least.
inline at::Tensor search_maxima(const at::Tensor& w, const at::Tensor& maxima, const at::Tensor& gram) {
  const at::Tensor gram_blocks = diagonal_blocks(gram, nf4_block);
  at::Tensor chosen = maxima, best = nf4_costs(w, maxima, gram_blocks);
  for (int i = 1; i < 8; ++i) {
    const at::Tensor candidate = maxima * (1 - 0.05 * i), cost = nf4_costs(w, candidate, gram_blocks);
    const at::Tensor better = cost.lt(best);
    chosen = at::where(better, candidate, chosen);
    best = at::where(better, cost, best);
  }
  return chosen;
}

/// Codes, one a byte, -> two a byte, the even element high; an odd count is padded with the code of 0.
inline std::vector<std::uint8_t> nf4_pack(std::span<const std::uint8_t> codes) {
  std::vector<std::uint8_t> out((codes.size() + 1) / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint8_t odd = 2 * i + 1 < codes.size() ? codes[2 * i + 1] : std::uint8_t{7};
    out[i] = static_cast<std::uint8_t>(codes[2 * i] << 4 | odd);
  }
  return out;
}

}  // namespace detail

/// w [out, in] float32 -> nested NF4 in blocks of 64. Without statistics exactly what bitsandbytes makes of
/// w. With them the block maxima are searched for and nested by its rule, and the codes are chosen as GPTQ
/// chooses them.
inline Nf4Codes nf4_quantise(const at::Tensor& w, const InputStatistics& inputs) {
  const at::Tensor dense = w.contiguous();
  const std::int64_t in = w.size(1);
  auto plain = quant::nf4_quantise(std::span(dense.const_data_ptr<float>(), static_cast<std::size_t>(dense.numel())));
  Nf4Codes result;
  if (!inputs.known()) {
    result.codes = std::move(plain.codes);
    result.maxima = quant::nf4_nest(plain.absmax);
  } else {
    std::vector<float> maxima = std::move(plain.absmax);
    if (in % detail::nf4_block == 0) {  // blocks are parts of rows, and their inputs the same for all rows
      const at::Tensor searched = detail::search_maxima(
          dense, at::from_blob(maxima.data(), {w.size(0), in / detail::nf4_block}, at::kFloat).clone(), inputs.gram);
      maxima.assign(searched.const_data_ptr<float>(), searched.const_data_ptr<float>() + searched.numel());
    }
    result.maxima = quant::nf4_nest(maxima);
    maxima = detail::unnested(result.maxima);
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(dense.numel()));
    const at::Tensor order = by_activity(inputs.gram);
    const auto* const input_of = order.const_data_ptr<std::int64_t>();
    feed_back_errors(dense.index_select(1, order), inverse_factor(reordered(inputs, order)),
                     [&](std::int64_t row, std::int64_t place, float value) {
                       const std::int64_t element = row * in + input_of[place];
                       const float largest = maxima[static_cast<std::size_t>(element / detail::nf4_block)];
                       const std::uint8_t code = detail::nf4_nearest(value, largest);
                       codes[static_cast<std::size_t>(element)] = code;
                       return weights::nf4_code[code] * largest;
                     });
    result.codes = detail::nf4_pack(codes);
  }
  result.values = at::empty_like(dense);
  const quant::Nf4View view{.out = w.size(0),
                            .in = in,
                            .codes = result.codes.data(),
                            .nested_codes = result.maxima.codes.data(),
                            .nested_absmax = result.maxima.absmax.data(),
                            .nested_offset = result.maxima.offset};
  dequantise(view, 0, view.elements(), result.values.data_ptr<float>());
  return result;
}

}  // namespace fpf::checkpoint
