// float16 and bfloat16 as bit patterns: exact widening, and rounding to nearest even (IEEE 754-2019, 4.3.1).
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

namespace fpf {

/// bfloat16 bits -> float32, exact.
constexpr float float32_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// float32 -> bfloat16 bits, to nearest even; NaN stays NaN (quieted).
constexpr std::uint16_t bfloat16_from_float32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// The bfloat16 that has this value, bit for bit; nothing where none has.
constexpr std::optional<std::uint16_t> exact_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0xffffu) != 0) return std::nullopt;
  return static_cast<std::uint16_t>(bits >> 16);
}

/// float16 bits -> float32, exact.
constexpr float float32_from_float16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal or zero: exact in float32
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

/// float32 -> float16 bits, to nearest even; overflow gives infinity, NaN stays NaN (quieted).
constexpr std::uint16_t float16_from_float32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {  // below 2^-14: the result is subnormal or zero
    // Adding 0.5 puts the unit of a float16 subnormal (2^-24) into the last place of a float32 in [0.5, 1).
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

/// The float16 that has this value, bit for bit; nothing where none has.
constexpr std::optional<std::uint16_t> exact_float16(float value) {
  const std::uint16_t half = float16_from_float32(value);
  const float back = float32_from_float16(half);
  if (std::bit_cast<std::uint32_t>(back) != std::bit_cast<std::uint32_t>(value)) return std::nullopt;
  return half;
}

}  // namespace fpf
