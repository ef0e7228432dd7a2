// Quantising a linear layer to bitsandbytes' nested NF4 (QLoRA, arXiv:2305.14314).
#pragma once

#include <fpf/quant/error_feedback.hpp>
#include <fpf/quant/nf4_format.hpp>

namespace fpf::quant {

/// A matrix in nested NF4, and the values it stands for.
struct Nf4Codes {
  std::vector<std::uint8_t> codes;  // two a byte
  Nf4Nested maxima;
  at::Tensor values;  // [out, in] float32
};

namespace detail {

inline constexpr std::int64_t nf4_block = 64;

/// Block maxima as the nested form gives them back.
inline std::vector<float> unnested(const Nf4Nested& nested) {
  const Nf4View view{.nested_codes = nested.codes.data(),
                     .nested_absmax = nested.absmax.data(),
                     .nested_offset = nested.offset};
  std::vector<float> out(nested.codes.size());
  for (std::size_t block = 0; block < out.size(); ++block)
    out[block] = view.scale(static_cast<std::int64_t>(block));
  return out;
}

/// Rounds to the nearest NF4 value under the maximum of the element's block: a given one, or, where blocks
/// are parts of rows and `maxima` is to be filled, the one the block has when the walk reaches it.
class Nf4Rounder {
 public:
  Nf4Rounder(std::int64_t in, std::vector<float>& maxima, bool fill, std::uint8_t* codes)
      : in_(in), maxima_(maxima), fill_(fill), codes_(codes) {
    for (std::size_t i = 0; i < 15; ++i) bounds_[i] = (weights::nf4_code[i] + weights::nf4_code[i + 1]) / 2;
  }

  void begin(std::int64_t row, std::int64_t first, std::span<const float> values) {
    if (!fill_) return;
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::abs(value));
    maximum(row, first) = largest;
  }
  float round(std::int64_t row, std::int64_t input, float value) {
    constexpr float least = 1e-38f;
    const float largest = maximum(row, input), scaled = value / (std::abs(largest) < least ? least : largest);
    std::size_t code = 0;  // compared with all bounds: no branch to guess
    for (const float bound : bounds_) code += scaled > bound ? 1 : 0;
    codes_[row * in_ + input] = static_cast<std::uint8_t>(code);
    return weights::nf4_code[code] * largest;
  }

 private:
  float& maximum(std::int64_t row, std::int64_t input) {
    return maxima_[static_cast<std::size_t>((row * in_ + input) / nf4_block)];
  }

  std::int64_t in_;
  std::vector<float>& maxima_;
  bool fill_;
  std::uint8_t* codes_;
  std::array<float, 15> bounds_{};
};

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
/// w. With them the block maxima are found and nested by its rule, and the codes are chosen as GPTQ chooses
/// them.
inline Nf4Codes nf4_quantise(const at::Tensor& w, const InputStatistics& inputs) {
  const at::Tensor dense = w.contiguous();
  const std::int64_t in = w.size(1);
  auto plain =
      nf4_quantise(std::span(dense.const_data_ptr<float>(), static_cast<std::size_t>(dense.numel())));
  Nf4Codes result;
  if (!inputs.known()) {
    result.codes = std::move(plain.codes);
    result.maxima = nf4_nest(plain.absmax);
  } else {
    const at::Tensor factor = inverse_factor(inputs);
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(dense.numel()));
    std::vector<float> maxima = std::move(plain.absmax);
    if (in % detail::nf4_block == 0) {  // blocks are parts of rows: their maxima take up errors too
      detail::Nf4Rounder finding(in, maxima, true, codes.data());
      feed_back_errors(dense, factor, detail::nf4_block, finding);
    }
    result.maxima = nf4_nest(maxima);
    maxima = detail::unnested(result.maxima);
    detail::Nf4Rounder rounder(in, maxima, false, codes.data());
    feed_back_errors(dense, factor, detail::nf4_block, rounder);
    result.codes = detail::nf4_pack(codes);
  }
  result.values = at::empty_like(dense);
  const Nf4View view{.out = w.size(0),
                     .in = in,
                     .codes = result.codes.data(),
                     .nested_codes = result.maxima.codes.data(),
                     .nested_absmax = result.maxima.absmax.data(),
                     .nested_offset = result.maxima.offset};
  dequantise(view, 0, view.elements(), result.values.data_ptr<float>());
  return result;
}

}  // namespace fpf::quant
