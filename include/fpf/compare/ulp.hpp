// Units in the last place: how many values of a signal's own dtype lie between two.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fpf/core/dtype.hpp>
#include <fpf/core/half.hpp>
#include <span>
#include <string>

namespace fpf::compare {

/// Counts of elements by distance in units in the last place of the signal's own dtype. Bucket 0 holds
/// distance 0, bucket 1 distance 1, bucket k > 1 the distances 2^(k-2) + 1 ... 2^(k-1).
struct UlpHistogram {
  std::array<std::uint64_t, 34> counts{};
  std::string dtype;  // the dtype whose units are counted

  static constexpr std::uint64_t lower(std::size_t bucket) {
    return bucket < 2 ? bucket : (std::uint64_t{1} << (bucket - 2)) + 1;
  }
  static constexpr std::uint64_t upper(std::size_t bucket) {
    return bucket < 2 ? bucket : std::uint64_t{1} << (bucket - 1);
  }
};

/// Whether every value is a value of `dtype`, so that units in its last place have a meaning.
inline bool representable(std::span<const float> row, DType dtype) {
  if (dtype == DType::bfloat16)
    return std::ranges::all_of(row, [](float v) { return (std::bit_cast<std::uint32_t>(v) & 0xffffu) == 0; });
  if (dtype == DType::float16)
    return std::ranges::all_of(row, [](float v) { return float32_from_float16(float16_from_float32(v)) == v; });
  return dtype == DType::float32;
}

/// A value's place among all values of `dtype` in ascending order: neighbours differ by 1, both zeros are 0.
/// The value must be one of the dtype's (float16, bfloat16, or float32 for all others).
inline std::int64_t ordinal(float value, DType dtype) {
  const auto place = [](std::uint32_t bits, std::uint32_t sign) {
    return (bits & sign) == 0 ? std::int64_t{bits} : -std::int64_t{bits & (sign - 1)};
  };
  if (dtype == DType::bfloat16) return place(std::bit_cast<std::uint32_t>(value) >> 16, 0x8000u);
  if (dtype == DType::float16) return place(float16_from_float32(value), 0x8000u);
  return place(std::bit_cast<std::uint32_t>(value), 0x80000000u);
}

/// Number of values of `dtype` that one steps over from a to b (Goldberg 1991's ulps, counted on the number
/// line).
inline std::uint64_t ulp_distance(float a, float b, DType dtype) {
  return static_cast<std::uint64_t>(std::abs(ordinal(a, dtype) - ordinal(b, dtype)));
}

/// The histogram's bucket for a distance (see UlpHistogram).
inline std::size_t ulp_bucket(std::uint64_t distance) {
  return distance < 2 ? static_cast<std::size_t>(distance) : static_cast<std::size_t>(std::bit_width(distance - 1)) + 1;
}

/// Adds the distances of all elements of two rows, which must be representable in `dtype`.
inline void add_ulps(UlpHistogram& histogram, std::span<const float> a, std::span<const float> b, DType dtype) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    ++histogram.counts[ulp_bucket(ulp_distance(a[i], b[i], dtype))];
}

}  // namespace fpf::compare
