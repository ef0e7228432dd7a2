// The integer loops in AVX2: products of 16 bits, added in pairs.
#pragma once

#include <fpf/portable/integer_lanes.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable::avx2 {

/// int16 q [columns]; of each four columns the second and third change places, so that pairs are what a register's even
/// and odd bytes hold.
FPF_AVX2 inline void spread(const std::int16_t* q, std::int64_t columns, std::byte* to) {
  auto* const values = reinterpret_cast<std::int16_t*>(to);
  for (std::int64_t k = 0; k < columns; k += 4) {
    values[k] = q[k];
    values[k + 1] = q[k + 2];
    values[k + 2] = q[k + 1];
    values[k + 3] = q[k + 3];
  }
}

namespace detail {

FPF_AVX2 inline __m256i eight_lanes(const std::uint8_t* tile) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile));
}

/// Two pairs of columns of eight lanes onto `sum`.
FPF_AVX2 inline __m256i with_pairs(__m256i sum, __m256i weights, const std::int32_t* q) {
  const __m256i first = _mm256_and_si256(weights, _mm256_set1_epi32(0x00ff00ff)),
                second = _mm256_srli_epi16(weights, 8);
  return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(first, _mm256_set1_epi32(q[0])),
                                                _mm256_madd_epi16(second, _mm256_set1_epi32(q[1]))));
}

/// sliced_sum of sums with unsigned bytes.
FPF_AVX2 inline __m256i joined_slices(__m256i high, __m256i low, std::int32_t sum) {
  const __m256i bias = _mm256_set1_epi32(128 * sum);
  const __m256i rounded = _mm256_sub_epi32(_mm256_add_epi32(low, _mm256_set1_epi32(128)), bias);
  return _mm256_add_epi32(_mm256_sub_epi32(high, bias), _mm256_srai_epi32(rounded, 8));
}

/// R rows, eight lanes from `half` on.
template <int R, bool Slices>
FPF_AVX2 inline void rows_dot(const Dot& d, int row, int half) {
  const std::int32_t* q[R];
  __m256i high_sum[R], low_sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    q[r] = reinterpret_cast<const std::int32_t*>(d.x.row(row + r)) + d.first / 2;
    high_sum[r] = low_sum[r] = _mm256_setzero_si256();
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m256i high = eight_lanes(d.high + k * lanes + 4 * half);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) high_sum[r] = with_pairs(high_sum[r], high, q[r] + k / 2);
    if (!Slices) continue;
    const __m256i low = eight_lanes(d.low + k * lanes + 4 * half);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) low_sum[r] = with_pairs(low_sum[r], low, q[r] + k / 2);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m256i sum = Slices ? joined_slices(high_sum[r], low_sum[r], d.sums[row + r]) : high_sum[r];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(d.dots + (row + r) * d.stride + half), sum);
  }
}

template <bool Slices>
FPF_AVX2 inline void all_rows_dot(const Dot& d) {
  for (int half = 0; half < lanes; half += 8) {
    int row = 0;
    for (; row + 4 <= d.rows; row += 4) rows_dot<4, Slices>(d, row, half);
    for (; row < d.rows; ++row) rows_dot<1, Slices>(d, row, half);
  }
}

}  // namespace detail

FPF_AVX2 inline void dot(const Dot& d) {
  d.low == nullptr ? detail::all_rows_dot<false>(d) : detail::all_rows_dot<true>(d);
}

FPF_AVX2 inline void unpack_codes(const std::uint8_t* codes, int count, std::uint8_t* tile) {
  const __m256i mask = _mm256_set1_epi8(15);
  auto* to = reinterpret_cast<__m256i*>(tile);
  const auto* from = reinterpret_cast<const __m256i*>(codes);
  for (int k = 0; k < count; k += 8, from += 2, to += 4)
    for (int i = 0; i < 2; ++i) {
      const __m256i both = _mm256_loadu_si256(from + i);
      _mm256_storeu_si256(to + i, _mm256_and_si256(both, mask));
      _mm256_storeu_si256(to + 2 + i, _mm256_and_si256(_mm256_srli_epi16(both, 4), mask));
    }
}

FPF_AVX2 inline void unpack_map(const std::uint8_t* codes, int count, const std::uint8_t* high_of,
                                const std::uint8_t* low_of, std::uint8_t* high, std::uint8_t* low) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i highs = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(high_of)));
  const __m256i lows = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low_of)));
  const auto* from = reinterpret_cast<const __m256i*>(codes);
  auto *to_high = reinterpret_cast<__m256i*>(high), *to_low = reinterpret_cast<__m256i*>(low);
  for (int k = 0; k < count; k += 8, from += 2, to_high += 4, to_low += 4)
    for (int i = 0; i < 2; ++i) {
      const __m256i both = _mm256_loadu_si256(from + i), first = _mm256_and_si256(both, mask);
      const __m256i second = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
      _mm256_storeu_si256(to_high + i, _mm256_shuffle_epi8(highs, first));
      _mm256_storeu_si256(to_low + i, _mm256_shuffle_epi8(lows, first));
      _mm256_storeu_si256(to_high + 2 + i, _mm256_shuffle_epi8(highs, second));
      _mm256_storeu_si256(to_low + 2 + i, _mm256_shuffle_epi8(lows, second));
    }
}

FPF_AVX2 inline unsigned integers(const float* x, int count, std::int16_t* q) {
  return portable::detail::integers(x, count, q);
}
FPF_AVX2 inline void end_group(const GroupEnd& g) { portable::detail::end_group(g); }
FPF_AVX2 inline void end_values(const ValueEnd& v) { portable::detail::end_values(v); }
FPF_AVX2 inline void weigh(const AttentionRow* rows, int count) { portable::detail::weigh(rows, count); }

inline void product(const GroupedProduct& p) { portable::detail::product_of_dots<dot, end_group>(p); }

inline constexpr IntegerLoops integer_loops{.tiles = false,
                                            .spread = spread,
                                            .dot = dot,
                                            .product = product,
                                            .unpack_codes = unpack_codes,
                                            .unpack_map = unpack_map,
                                            .integers = integers,
                                            .end_values = end_values,
                                            .weigh = weigh};

}  // namespace fpf::portable::avx2
#endif
