// AWQ's GEMM layout (AutoAWQ 0.2.9, awq/utils/packing_utils.py): reading, slicing, writing. No tensor
// library.
//
//   qweight  int32 [in, out/8]       nibble i (bits 4i to 4i+3) of word c is column 8c + {0,2,4,6,1,3,5,7}[i]
//   qzeros   int32 [groups, out/8]   in the same order; without it every zero is 8
//   scales   float16 [groups, out]   groups = in / group_size
#pragma once

#include <array>
#include <fpf/quant/int4_groups.hpp>
#include <fpf/quant/quant_config.hpp>

namespace fpf::quant {

/// A layer, or a rectangle of one; a view of somebody's memory.
struct AwqView {
  std::int64_t in = 0;
  std::int64_t out = 0;    // a multiple of 8
  std::int64_t group = 0;  // inputs per group
  std::int64_t skip = 0;   // inputs of the first group that lie before the rectangle
  const std::int32_t* qweight = nullptr;
  const std::int32_t* qzeros = nullptr;  // null: every zero is 8
  std::int64_t stride = 0;               // words from row to row, in qweight and qzeros alike
  ScaleView scales;

  std::int64_t groups() const { return (skip + in + group - 1) / group; }
};

/// The tensors of layer `name` in a checkpoint, validated.
struct AwqTensors {
  const weights::StoredTensor* qweight = nullptr;
  const weights::StoredTensor* qzeros = nullptr;  // may be missing
  const weights::StoredTensor* scales = nullptr;
  std::int64_t in = 0, out = 0, group = 0;

  /// Throws Error by name for a missing tensor, a wrong dtype or shape, groups that do not divide the inputs, and
  /// stored zeros other than 8 where the configuration says that there are none.
  static AwqTensors find(const weights::TensorSource& source, const QuantisationConfig& config, const std::string& name,
                         std::int64_t out, std::int64_t in) {
    AwqTensors found;
    found.in = in;
    found.out = out;
    found.group = group_length(config.group_size, in);
    if (out % 8 != 0 || in % found.group != 0)
      fail("layer '{}' has shape [{}, {}]: AWQ needs outputs in eights and whole groups of {} inputs", name, out, in,
           found.group);
    const auto groups = in / found.group;
    found.qweight = &require_dtype(source.at(name + ".qweight", {in, out / 8}), {DType::int32});
    if (config.zero_point || source.contains(name + ".qzeros"))
      found.qzeros = &require_dtype(source.at(name + ".qzeros", {groups, out / 8}), {DType::int32});
    if (!config.zero_point && found.qzeros != nullptr) {
      for_words(source, *found.qzeros, [&](std::size_t at, std::uint32_t word) {
        if (word != 0x88888888u)
          fail(
              "tensor '{}' in {} holds other zeros than 8 (word {} is {:08x}), but quantization_config says zero_point "
              "false: engines that read them and engines that do not compute different numbers",
              found.qzeros->name, found.qzeros->file, at, word);
      });
    }
    found.scales = &require_dtype(source.at(name + ".scales", {groups, out}), {DType::float16, DType::bfloat16});
    return found;
  }

  /// A view of the stored bytes, which must be resident.
  AwqView view() const {
    return {.in = in,
            .out = out,
            .group = group,
            .skip = 0,
            .qweight = qweight->as<std::int32_t>().data(),
            .qzeros = qzeros == nullptr ? nullptr : qzeros->as<std::int32_t>().data(),
            .stride = out / 8,
            .scales = {scales->data.data(), scales->dtype(), out}};
  }
};

namespace detail {

inline constexpr std::array<int, 8> awq_nibble_of_column{0, 4, 1, 5, 2, 6, 3, 7};

}  // namespace detail

/// The 8 columns of a word, ascending.
template <class T>
void awq_unpack(std::int32_t word, T* columns) {
  const auto bits = static_cast<std::uint32_t>(word);
  for (std::size_t i = 0; i < 8; ++i)
    columns[i] = static_cast<T>((bits >> (4 * detail::awq_nibble_of_column[i])) & 15u);
}

/// The rectangle of outputs `out` and inputs `in`. Outputs must be cut at multiples of 8 (a word); inputs
/// anywhere.
inline AwqView slice(const AwqView& whole, Range out, Range in) {
  if (out.begin % 8 != 0 || out.size() % 8 != 0)
    fail("outputs {} to {} of an AWQ layer were asked for: it can be cut at multiples of 8 only", out.begin, out.end);
  AwqView part = whole;
  const auto group = (whole.skip + in.begin) / whole.group;
  part.in = in.size();
  part.out = out.size();
  part.skip = (whole.skip + in.begin) % whole.group;
  part.qweight += in.begin * whole.stride + out.begin / 8;
  if (part.qzeros != nullptr) part.qzeros += group * whole.stride + out.begin / 8;
  part.scales.data +=
      (group * whole.scales.stride + out.begin) * static_cast<std::int64_t>(size_of(whole.scales.dtype));
  return part;
}

/// Inputs [first, first + count) of all outputs -> `values` [count, out], exact products in float32.
inline void dequantise(const AwqView& view, std::int64_t first, std::int64_t count, float* values) {
  constexpr std::int64_t tile = 256;  // columns; the scales and zeros of a group stay in the first cache
  std::array<float, tile> zeros, scales;
  for (std::int64_t column = 0; column < view.out; column += tile) {
    const auto width = std::min(tile, view.out - column);
    std::int64_t group = -1;
    for (std::int64_t k = first; k < first + count; ++k) {
      if (const auto own = (view.skip + k) / view.group; own != group) {
        group = own;
        view.scales.read(group, column, width, scales.data());
        zeros.fill(8.0f);
        if (view.qzeros != nullptr)
          for (std::int64_t c = 0; c < width; c += 8)
            awq_unpack(view.qzeros[group * view.stride + (column + c) / 8], zeros.data() + c);
      }
      const auto* words = view.qweight + k * view.stride + column / 8;
      float* row = values + (k - first) * view.out + column;
      for (std::int64_t c = 0; c < width; c += 8) awq_unpack(words[c / 8], row + c);
      for (std::int64_t c = 0; c < width; ++c) row[c] = (row[c] - zeros[c]) * scales[c];
    }
  }
}

/// The whole view -> [in, out].
inline std::vector<float> dequantise(const AwqView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.in * view.out));
  dequantise(view, 0, view.in, values.data());
  return values;
}

/// Codes (or zeros) [rows, columns], 0 to 15 each -> words [rows, columns / 8].
inline std::vector<std::int32_t> awq_pack(std::span<const std::uint8_t> codes, std::int64_t columns) {
  if (columns % 8 != 0 || static_cast<std::int64_t>(codes.size()) % columns != 0)
    fail("cannot pack {} codes in rows of {}: AWQ packs whole rows of a multiple of 8", codes.size(), columns);
  std::vector<std::int32_t> words(codes.size() / 8);
  for (std::size_t w = 0; w < words.size(); ++w) {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 8; ++i) word |= (codes[8 * w + i] & 15u) << (4 * detail::awq_nibble_of_column[i]);
    words[w] = static_cast<std::int32_t>(word);
  }
  return words;
}

/// The tensors of a layer [out, in] in groups of `group` inputs, with qzeros.
inline std::vector<weights::TensorSpec> awq_tensors(const std::string& name, std::int64_t out, std::int64_t in,
                                                    std::int64_t group) {
  return {{name + ".qweight", DType::int32, {in, out / 8}},
          {name + ".qzeros", DType::int32, {in / group, out / 8}},
          {name + ".scales", DType::float16, {in / group, out}}};
}

/// The quantization_config of a model whose modules `kept` are not quantised.
inline nlohmann::ordered_json awq_config(std::int64_t group_size, const std::vector<std::string>& kept) {
  return {{"quant_method", "awq"}, {"bits", 4},         {"group_size", group_size},
          {"zero_point", true},    {"version", "gemm"}, {"modules_to_not_convert", kept}};
}

}  // namespace fpf::quant
