// GGUF's block formats (ggml-common.h and ggml-quants.c in ggml): layouts and exact dequantisation to
// float32.
#pragma once

#include <fpf/core/half.hpp>
#include <fpf/weights/tensor_source.hpp>

namespace fpf::weights {

// A block holds 32 elements. In the 4-bit formats the low nibbles are elements 0 to 15, the high ones 16
// to 31.
struct BlockQ4_0 {
  std::uint16_t d;  // float16
  std::array<std::uint8_t, 16> q;
};
struct BlockQ4_1 {
  std::uint16_t d, m;  // float16
  std::array<std::uint8_t, 16> q;
};
struct BlockQ8_0 {
  std::uint16_t d;  // float16
  std::array<std::int8_t, 32> q;
};
static_assert(sizeof(BlockQ4_0) == 18 && alignof(BlockQ4_0) == 2);
static_assert(sizeof(BlockQ4_1) == 20 && alignof(BlockQ4_1) == 2);
static_assert(sizeof(BlockQ8_0) == 34 && alignof(BlockQ8_0) == 2);

// d has 11 significant bits and q at most 8, so d * q is exact: a fused multiply-add gives the same bits.

/// w = d * (q - 8)
inline void dequantise(const BlockQ4_0& block, float* out) {
  const float d = float32_from_float16(block.d);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block.q[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((block.q[i] >> 4) - 8);
  }
}

/// w = d * q + m
inline void dequantise(const BlockQ4_1& block, float* out) {
  const float d = float32_from_float16(block.d), m = float32_from_float16(block.m);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(block.q[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(block.q[i] >> 4) + m;
  }
}

/// w = d * q
inline void dequantise(const BlockQ8_0& block, float* out) {
  const float d = float32_from_float16(block.d);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(block.q[i]);
}

namespace detail {

template <class Block>
void dequantise_blocks(std::span<const std::byte> bytes, float* out) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Block), out += 32) {
    Block block;
    std::memcpy(&block, bytes.data() + at, sizeof(Block));
    dequantise(block, out);
  }
}

template <class T, class Convert>
void widen(std::span<const std::byte> bytes, float* out, Convert convert) {
  for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

}  // namespace detail

/// Stored bytes of a floating or block format -> float32, exactly as ggml: `out` has one element per stored
/// element. Throws Error for the integer formats and for sizes that do not agree.
inline void dequantise(Format format, std::span<const std::byte> bytes, std::span<float> out) {
  const auto layout = info(format);
  if (bytes.size() % layout.block_bytes != 0 || bytes.size() / layout.block_bytes * layout.block_elements != out.size())
    fail("cannot dequantise {} bytes of {} into {} elements", bytes.size(), layout.name, out.size());
  switch (format) {
    case Format::q4_0:
      return detail::dequantise_blocks<BlockQ4_0>(bytes, out.data());
    case Format::q4_1:
      return detail::dequantise_blocks<BlockQ4_1>(bytes, out.data());
    case Format::q8_0:
      return detail::dequantise_blocks<BlockQ8_0>(bytes, out.data());
    case Format::float32:
      return detail::widen<float>(bytes, out.data(), [](float v) { return v; });
    case Format::float16:
      return detail::widen<std::uint16_t>(bytes, out.data(), float32_from_float16);
    case Format::bfloat16:
      return detail::widen<std::uint16_t>(bytes, out.data(), float32_from_bfloat16);
    default:
      fail("cannot dequantise {}: expected a floating or block format", layout.name);
  }
}

/// Elements [first, first + out.size()) of a resident tensor, dequantised; rows of a matrix begin at
/// multiples of its last dimension. Throws Error when the range leaves the tensor or cuts a block.
inline void dequantise(const StoredTensor& tensor, std::int64_t first, std::span<float> out) {
  const auto layout = info(tensor.format);
  const auto begin = static_cast<std::size_t>(first), total = static_cast<std::size_t>(tensor.elements());
  if (first < 0 || begin > total || out.size() > total - begin || begin % layout.block_elements != 0)
    fail("elements {} to {} of tensor '{}' were asked for: {} has {} in blocks of {}", first, begin + out.size(),
         tensor.name, tensor.file, total, layout.block_elements);
  const auto bytes_of = [&](std::size_t elements) { return elements / layout.block_elements * layout.block_bytes; };
  dequantise(tensor.format, tensor.data.subspan(bytes_of(begin), bytes_of(out.size())), out);
}

}  // namespace fpf::weights
