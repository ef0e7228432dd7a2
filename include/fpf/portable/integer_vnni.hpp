// The integer loops where a CPU multiplies bytes (VNNI): 512 bits with AVX-512, 256 bits with AVX-VNNI.
#pragma once

#include <fpf/portable/avx512.hpp>
#include <fpf/portable/integer_avx2.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>


namespace fpf::portable {

namespace vnni {

/// int8 high slices [columns], then low ones [columns].
FPF_AVX2 inline void spread(const std::int16_t* q, std::int64_t columns, std::byte* to) {
  auto *const high = reinterpret_cast<std::int8_t*>(to), *const low = high + columns;
  for (std::int64_t k = 0; k < columns; ++k) {
    high[k] = static_cast<std::int8_t>((q[k] + 128) >> 8);
    low[k] = static_cast<std::int8_t>(q[k] & 255);
  }
}

inline int four_bytes(const std::int8_t* at) {
  int out;
  std::memcpy(&out, at, 4);
  return out;
}

}  // namespace vnni

namespace avx512_vnni {

namespace detail {

/// Sums of a row of x with a tile: of its high and of its low slices.
struct Sums {
  __m512i high, low;
};
FPF_AVX512_VNNI inline void add(Sums& sums, __m512i weights, const std::int8_t* x, std::int64_t columns) {
  sums.high = _mm512_dpbusd_epi32(sums.high, weights, _mm512_set1_epi32(vnni::four_bytes(x)));
  sums.low = _mm512_dpbusd_epi32(sums.low, weights, _mm512_set1_epi32(vnni::four_bytes(x + columns)));
}
FPF_AVX512_VNNI inline __m512i total(const Sums& sums) {
  return _mm512_add_epi32(_mm512_maskz_slli_epi32(avx512::detail::all, sums.high, 8), sums.low);
}
/// sliced_sum of sums with unsigned bytes.
FPF_AVX512_VNNI inline __m512i joined_slices(__m512i high, __m512i low, std::int32_t sum) {
  const __m512i bias = _mm512_set1_epi32(128 * sum);
  const __m512i rounded = _mm512_sub_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(128)), bias);
  return _mm512_add_epi32(_mm512_sub_epi32(high, bias), _mm512_maskz_srai_epi32(avx512::detail::all, rounded, 8));
}

template <int R, bool Slices>
FPF_AVX512_VNNI inline void rows_dot(const Dot& d, int row, std::int32_t* dots) {
  const std::int8_t* x[R];
  Sums high_sums[R], low_sums[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(d.x[row + r]) + d.first;
    high_sums[r] = low_sums[r] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m512i high = _mm512_loadu_si512(d.high + k * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) add(high_sums[r], high, x[r] + k, d.columns);
    if (!Slices) continue;
    const __m512i low = _mm512_loadu_si512(d.low + k * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) add(low_sums[r], low, x[r] + k, d.columns);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512i sum = Slices ? joined_slices(total(high_sums[r]), total(low_sums[r]), d.sums[row + r])
                               : total(high_sums[r]);
    _mm512_storeu_si512(dots + (row + r) * lanes, sum);
  }
}

template <bool Slices>
FPF_AVX512_VNNI inline void all_rows_dot(const Dot& d, std::int32_t* dots) {
  int row = 0;
  if (!Slices)
    for (; row + 8 <= d.rows; row += 8) rows_dot<8, Slices>(d, row, dots);
  for (; row + 4 <= d.rows; row += 4) rows_dot<4, Slices>(d, row, dots);
  for (; row < d.rows; ++row) rows_dot<1, Slices>(d, row, dots);
}

}  // namespace detail

FPF_AVX512_VNNI inline void dot(const Dot& d, std::int32_t* dots) {
  d.low == nullptr ? detail::all_rows_dot<false>(d, dots) : detail::all_rows_dot<true>(d, dots);
}

FPF_AVX512_VNNI inline unsigned integers(const float* x, int count, std::int16_t* q) {
  return portable::detail::integers(x, count, q);
}
FPF_AVX512_VNNI inline void end_group(const GroupEnd& g) { portable::detail::end_group(g); }
FPF_AVX512_VNNI inline void end_values(const ValueEnd& v) { portable::detail::end_values(v); }
FPF_AVX512_VNNI inline void weigh(const AttentionRow& row) { portable::detail::weigh(row); }

inline constexpr IntegerLoops integer_loops{2,        vnni::spread, dot,  avx2::unpack_codes, avx2::unpack_map,
                                            integers, end_group, end_values, weigh};

}  // namespace avx512_vnni

namespace avx_vnni {

namespace detail {

struct Sums {
  __m256i high, low;
};
FPF_AVX_VNNI inline void add(Sums& sums, __m256i weights, const std::int8_t* x, std::int64_t columns) {
  sums.high = _mm256_dpbusd_avx_epi32(sums.high, weights, _mm256_set1_epi32(vnni::four_bytes(x)));
  sums.low = _mm256_dpbusd_avx_epi32(sums.low, weights, _mm256_set1_epi32(vnni::four_bytes(x + columns)));
}
FPF_AVX_VNNI inline __m256i total(const Sums& sums) {
  return _mm256_add_epi32(_mm256_slli_epi32(sums.high, 8), sums.low);
}

template <int R, bool Slices>
FPF_AVX_VNNI inline void rows_dot(const Dot& d, int row, int half, std::int32_t* dots) {
  const std::int8_t* x[R];
  Sums high_sums[R], low_sums[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(d.x[row + r]) + d.first;
    high_sums[r] = low_sums[r] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m256i high = avx2::detail::eight_lanes(d.high + k * lanes + 4 * half);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) add(high_sums[r], high, x[r] + k, d.columns);
    if (!Slices) continue;
    const __m256i low = avx2::detail::eight_lanes(d.low + k * lanes + 4 * half);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) add(low_sums[r], low, x[r] + k, d.columns);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m256i sum = Slices ? avx2::detail::joined_slices(total(high_sums[r]), total(low_sums[r]), d.sums[row + r])
                               : total(high_sums[r]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + (row + r) * lanes + half), sum);
  }
}

template <bool Slices>
FPF_AVX_VNNI inline void all_rows_dot(const Dot& d, std::int32_t* dots) {
  constexpr int most = Slices ? 2 : 4;
  for (int half = 0; half < lanes; half += 8) {
    int row = 0;
    for (; row + most <= d.rows; row += most) rows_dot<most, Slices>(d, row, half, dots);
    for (; row < d.rows; ++row) rows_dot<1, Slices>(d, row, half, dots);
  }
}

}  // namespace detail

FPF_AVX_VNNI inline void dot(const Dot& d, std::int32_t* dots) {
  d.low == nullptr ? detail::all_rows_dot<false>(d, dots) : detail::all_rows_dot<true>(d, dots);
}

inline constexpr IntegerLoops integer_loops{2,
                                            vnni::spread,
                                            dot,
                                            avx2::unpack_codes,
                                            avx2::unpack_map,
                                            avx2::integers,
                                            avx2::end_group,
 avx2::end_values,
                                            avx2::weigh};

}  // namespace avx_vnni

}  // namespace fpf::portable
#endif
