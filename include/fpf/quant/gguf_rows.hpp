// GGUF's blocks of a layer as they stand: what reads codes and scales instead of values.
#pragma once

#include <fpf/quant/dense.hpp>
#include <optional>
#include <utility>

namespace fpf::quant {

/// Rows of a layer in a block format, in the model's order.
struct GgufBlocks {
  static constexpr std::int64_t length = 32;  // columns of a block

  weights::Format format{};
  std::int64_t in = 0;
  at::Tensor rows;  // [out, bytes of a row] uint8

  /// The layer's rows that `spec` asks for, where it is stored in blocks. Throws Error for a missing tensor, a shape
  /// other than the model's, and for a part of the inputs.
  static std::optional<GgufBlocks> find(const weights::TensorSource& source, const LinearSpec& spec) {
    const auto& stored = source.at(spec.name + ".weight", {spec.out_features, spec.in_features});
    if (weights::is_plain(stored.format)) return std::nullopt;
    if (spec.in != Range{0, spec.in_features})
      throw std::logic_error("a rank's share of the reduction of " + spec.name + " would cut its blocks");
    const auto layout = weights::info(stored.format);
    if (layout.block_elements != length || spec.in_features % length != 0)
      fail("layer '{}' has {} inputs in blocks of {}: expected whole blocks of {}", spec.name, spec.in_features,
           layout.block_elements, length);
    const std::int64_t row_bytes = spec.in_features / length * static_cast<std::int64_t>(layout.block_bytes);
    GgufBlocks out{stored.format, spec.in_features, at::empty({spec.out.size(), row_bytes}, at::kByte)};
    for (std::int64_t r = 0; r < spec.out.size(); ++r) {
      const std::int64_t from = detail::stored_row(spec, spec.out.begin + r) * row_bytes;
      std::memcpy(out.rows.data_ptr<std::uint8_t>() + r * row_bytes, stored.data.data() + from,
                  static_cast<std::size_t>(row_bytes));
    }
    return out;
  }

  std::int64_t out() const { return rows.size(0); }

  /// The code of a weight: 0 to 15, or of Q8_0 the signed one + 128.
  std::uint8_t code(std::int64_t row, std::int64_t column) const {
    switch (format) {
      case weights::Format::q4_0:
        return four_bits(block<weights::BlockQ4_0>(row, column / length), column);
      case weights::Format::q4_1:
        return four_bits(block<weights::BlockQ4_1>(row, column / length), column);
      default:
        return static_cast<std::uint8_t>(
            block<weights::BlockQ8_0>(row, column / length).q[static_cast<std::size_t>(column % length)] + 128);
    }
  }

  /// A block's scale, and its minimum or 0.
  std::pair<float, float> scale(std::int64_t row, std::int64_t group) const {
    switch (format) {
      case weights::Format::q4_0:
        return {float32_from_float16(block<weights::BlockQ4_0>(row, group).d), 0.0f};
      case weights::Format::q4_1: {
        const auto& found = block<weights::BlockQ4_1>(row, group);
        return {float32_from_float16(found.d), float32_from_float16(found.m)};
      }
      default:
        return {float32_from_float16(block<weights::BlockQ8_0>(row, group).d), 0.0f};
    }
  }

  /// [out, in]: each value rounded once to `dtype`.
  at::Tensor dequantise(at::ScalarType dtype) const {
    at::Tensor wide = at::empty({out(), in}, at::kFloat);
    const auto* const bytes = reinterpret_cast<const std::byte*>(rows.const_data_ptr<std::uint8_t>());
    weights::dequantise(format, {bytes, rows.nbytes()},
                        {wide.data_ptr<float>(), static_cast<std::size_t>(wide.numel())});
    return wide.to(dtype);
  }

 private:
  template <class Block>
  const Block& block(std::int64_t row, std::int64_t index) const {
    const auto* const at = rows.const_data_ptr<std::uint8_t>() + row * rows.size(1);
    return *reinterpret_cast<const Block*>(at + index * static_cast<std::int64_t>(sizeof(Block)));
  }
  template <class Block>
  static std::uint8_t four_bits(const Block& block, std::int64_t column) {
    const auto i = static_cast<std::size_t>(column % length);
    return i < 16 ? block.q[i] & 15 : block.q[i - 16] >> 4;
  }
};

}  // namespace fpf::quant
