// Tensors made from a seed: what each holds, and any byte range of them on any number of threads.
#pragma once

#include <bit>
#include <cmath>
#include <fpf/weights/synthetic_values.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <memory>

namespace fpf::weights::synthetic {

enum class Kind : std::uint8_t {
  codes,   // integers from the hash's own bits: (hash & mask) + addend
  floats,  // near-normal: mean, step
  ramp,    // int32 element / divisor: GPTQ's g_idx
  fixed    // bytes given: code books, descriptions
};

/// What a tensor holds. `key` is the tensor's (see key_of); a GPU kernel needs nothing but these numbers.
struct Recipe {
  Kind kind = Kind::fixed;
  Hash key = 0;
  Hash mask = ~Hash{0};
  Hash addend = 0;
  float mean = 0;
  float step = 0;
  std::int32_t divisor = 1;
  std::shared_ptr<const std::vector<std::byte>> bytes;

  static Recipe codes(Hash mask = ~Hash{0}, Hash addend = 0) {
    return {.kind = Kind::codes, .mask = mask, .addend = addend, .bytes = {}};
  }
  /// Near-normal values of that mean and standard deviation; the deviation is kept to 14 significant bits.
  static Recipe normal(double mean, double deviation) {
    const auto step = static_cast<float>(deviation / std::sqrt(21845.0));
    const float short_step = std::bit_cast<float>(std::bit_cast<std::uint32_t>(step) & 0xfffffc00u);
    return {.kind = Kind::floats, .mean = static_cast<float>(mean), .step = short_step, .bytes = {}};
  }
  static Recipe ramp(std::int64_t divisor) {
    return {.kind = Kind::ramp, .divisor = static_cast<std::int32_t>(divisor), .bytes = {}};
  }
  static Recipe fixed(std::span<const std::byte> bytes) {
    return {.bytes = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end())};
  }
};

/// The key of tensor `name`: FNV-1a's steps over the name, begun and ended with mix().
constexpr Hash key_of(Hash seed, std::string_view name) {
  Hash key = mix(seed + golden_ratio);
  for (const char c : name) key = (key ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return mix(key);
}

namespace detail {

// Rounding of finite values that do not overflow, without the branches of core/half.hpp: loops over them
// vectorise.

constexpr float finite_float32(float value) { return value; }

constexpr std::uint16_t finite_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// Adding a power of two 2^13 times the value's own (2^-1 for subnormal results) leaves the float16's bits in
/// the low bits of the sum, rounded by the addition.
constexpr std::uint16_t finite_float16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t exponent = std::max(bits & 0x7f800000u, 0x38800000u);  // at least 2^-14
  const float magic = std::bit_cast<float>(exponent + (13u << 23));
  const float sum = std::bit_cast<float>(bits & 0x7fffffffu) + magic;
  // The mantissa's carry into bit 10 adds the leading one, so the exponent counts from one below.
  const std::uint32_t magnitude = (std::bit_cast<std::uint32_t>(sum) & 0xfffu) + ((exponent - 0x38800000u) >> 13);
  return static_cast<std::uint16_t>(((bits >> 16) & 0x8000u) | magnitude);
}

// Each fills whole units, [first, first + count), of `unit` bytes: what one hash (or element) gives.

struct CodeUnits {
  static constexpr std::size_t unit = 8;
  static void fill(const Recipe& recipe, Hash first, std::size_t count, std::byte* out) {
    const auto mask = recipe.mask, addend = recipe.addend, key = recipe.key + first * golden_ratio;
    for (std::size_t i = 0; i < count; ++i) {
      const Hash word = synthetic::codes(hash(key, i), mask, addend);
      std::memcpy(out + 8 * i, &word, 8);
    }
  }
};

/// Two elements of T from a hash; `round` takes float32 to T. In two steps over a small buffer: the second
/// vectorises.
template <class T, auto round>
struct FloatUnits {
  static constexpr std::size_t unit = 2 * sizeof(T);
  static void fill(const Recipe& recipe, Hash first, std::size_t count, std::byte* out) {
    constexpr std::size_t buffered = 256;
    std::uint32_t sums[2 * buffered];
    T values[2 * buffered];
    for (std::size_t done = 0; done < count; done += buffered) {
      const std::size_t units = std::min(buffered, count - done);
      const auto key = recipe.key + (first + done) * golden_ratio;
      for (std::size_t i = 0; i < units; ++i) {
        const Hash pair = byte_sums(hash(key, i));
        sums[2 * i] = static_cast<std::uint32_t>(pair);
        sums[2 * i + 1] = static_cast<std::uint32_t>(pair >> 32);
      }
      const auto mean = recipe.mean, step = recipe.step;
      for (std::size_t i = 0; i < 2 * units; ++i) values[i] = round(value(sums[i], mean, step));
      std::memcpy(out + unit * done, values, unit * units);
    }
  }
};

struct RampUnits {
  static constexpr std::size_t unit = 4;
  static void fill(const Recipe& recipe, Hash first, std::size_t count, std::byte* out) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto element = static_cast<std::int32_t>(static_cast<std::int64_t>(first + i) / recipe.divisor);
      std::memcpy(out + 4 * i, &element, 4);
    }
  }
};

/// Bytes [first_byte, first_byte + out.size()): whole units in place, the cut ones at both ends through a
/// buffer.
template <class Units>
void fill_bytes(const Recipe& recipe, std::size_t first_byte, std::span<std::byte> out) {
  constexpr std::size_t unit = Units::unit;
  std::byte cut[unit];
  while (!out.empty()) {
    const std::size_t within = first_byte % unit;
    std::size_t taken = out.size() / unit * unit;
    if (within == 0 && taken != 0) {
      Units::fill(recipe, first_byte / unit, taken / unit, out.data());
    } else {
      taken = std::min(unit - within, out.size());
      Units::fill(recipe, first_byte / unit, 1, cut);
      std::memcpy(out.data(), cut + within, taken);
    }
    first_byte += taken;
    out = out.subspan(taken);
  }
}

}  // namespace detail

/// Bytes [first_byte, first_byte + out.size()) of the tensor that `recipe` describes, stored as `format`.
/// The same on every machine, however the tensor is cut.
inline void generate(const Recipe& recipe, Format format, std::size_t first_byte, std::span<std::byte> out) {
  using namespace detail;
  switch (recipe.kind) {
    case Kind::codes:
      return fill_bytes<CodeUnits>(recipe, first_byte, out);
    case Kind::ramp:
      return fill_bytes<RampUnits>(recipe, first_byte, out);
    case Kind::fixed:
      std::ranges::copy_n(recipe.bytes->begin() + static_cast<std::ptrdiff_t>(first_byte),
                          static_cast<std::ptrdiff_t>(out.size()), out.begin());
      return;
    case Kind::floats:
      break;
  }
  switch (format) {
    case Format::bfloat16:
      return fill_bytes<FloatUnits<std::uint16_t, finite_bfloat16>>(recipe, first_byte, out);
    case Format::float16:
      return fill_bytes<FloatUnits<std::uint16_t, finite_float16>>(recipe, first_byte, out);
    case Format::float32:
      return fill_bytes<FloatUnits<float, finite_float32>>(recipe, first_byte, out);
    default:
      fail("synthetic values are made as float32, float16 or bfloat16, not as {}", name_of(format));
  }
}

}  // namespace fpf::weights::synthetic
