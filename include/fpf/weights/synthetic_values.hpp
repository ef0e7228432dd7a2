// The arithmetic of synthetic weights, for CPU and GPU alike: no includes, plain constexpr functions.
//
// A tensor has a 64-bit key, hashed from (seed, name). Its hash number j is SplitMix64's output function
// (Steele, Lea and Flood, OOPSLA 2014) of key + j * the golden ratio: a counter, so any part can be made
// anywhere in any order. From hash j
//   codes    the 8 bytes at byte 8 j are (hash & mask) + addend, little-endian: packed 4-bit codes or zeros, 8-bit
//            codes
//   floats   elements 2 j (low half) and 2 j + 1 (high half) are mean + step * (sum of the half's 4 bytes - 510),
//            rounded to float32, then to nearest even in the tensor's own type
// The sum of four bytes is near-normal with variance 21845. `step` has at most 14 significant bits and the
// sum 10, so that their product is exact: one rounding, whether or not a compiler fuses the addition.
#pragma once

namespace fpf::weights::synthetic {

using Hash = unsigned long long;
static_assert(sizeof(Hash) == 8);

inline constexpr Hash golden_ratio = 0x9e3779b97f4a7c15ull;

/// SplitMix64's finaliser: every input bit reaches every output bit.
constexpr Hash mix(Hash z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

constexpr Hash hash(Hash key, Hash counter) { return mix(key + counter * golden_ratio); }

constexpr Hash codes(Hash hash, Hash mask, Hash addend) { return (hash & mask) + addend; }

/// The sums of the low and the high four bytes, each 0 to 1020, in the low and the high half of the result.
constexpr Hash byte_sums(Hash hash) {
  const Hash pairs = (hash & 0x00ff00ff00ff00ffull) + ((hash >> 8) & 0x00ff00ff00ff00ffull);
  return (pairs & 0x0000ffff0000ffffull) + ((pairs >> 16) & 0x0000ffff0000ffffull);
}

/// One element from its half of byte_sums().
constexpr float value(unsigned sum, float mean, float step) {
  return mean + step * static_cast<float>(static_cast<int>(sum) - 510);
}

}  // namespace fpf::weights::synthetic
