// The integer loops where a CPU multiplies bytes (VNNI): 512 bits with AVX-512, 256 bits with AVX-VNNI.
#pragma once

#include <fpf/portable/avx512.hpp>
#include <fpf/portable/integer_avx2.hpp>

#if FPF_HAS_X86_VECTORS
#include <immintrin.h>


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

/// R rows: sums over the high slices of x and over what is worth 1/256 of them.
template <int R, bool TwoSlices>
FPF_AVX512_VNNI inline void rows_dot(const Dot& d, int row, std::int32_t* dots) {
  const std::int8_t* x[R];
  __m512i high_sum[R], low_sum[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(d.x[row + r]) + d.first;
    high_sum[r] = low_sum[r] = _mm512_setzero_si512();
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m512i high = _mm512_loadu_si512(d.high + k * lanes);
    const __m512i low = TwoSlices ? _mm512_loadu_si512(d.low + k * lanes) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i first = _mm512_set1_epi32(vnni::four_bytes(x[r] + k));
      high_sum[r] = _mm512_dpbusd_epi32(high_sum[r], high, first);
      low_sum[r] = _mm512_dpbusd_epi32(low_sum[r], high, _mm512_set1_epi32(vnni::four_bytes(x[r] + d.columns + k)));
      if (TwoSlices) low_sum[r] = _mm512_dpbusd_epi32(low_sum[r], low, first);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    _mm512_storeu_si512(dots + (row + r) * lanes, _mm512_add_epi32(_mm512_maskz_slli_epi32(avx512::detail::all, high_sum[r], 8), low_sum[r]));
}

template <bool TwoSlices>
FPF_AVX512_VNNI inline void all_rows_dot(const Dot& d, std::int32_t* dots) {
  int row = 0;
  for (; row + 8 <= d.rows; row += 8) rows_dot<8, TwoSlices>(d, row, dots);
  for (; row + 4 <= d.rows; row += 4) rows_dot<4, TwoSlices>(d, row, dots);
  for (; row < d.rows; ++row) rows_dot<1, TwoSlices>(d, row, dots);
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

template <int R, bool TwoSlices>
FPF_AVX_VNNI inline void rows_dot(const Dot& d, int row, int half, std::int32_t* dots) {
  const std::int8_t* x[R];
  __m256i high_sum[R], low_sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(d.x[row + r]) + d.first;
    high_sum[r] = low_sum[r] = _mm256_setzero_si256();
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m256i high = avx2::detail::eight_lanes(d.high + k * lanes + 4 * half);
    const __m256i low =
        TwoSlices ? avx2::detail::eight_lanes(d.low + k * lanes + 4 * half) : _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m256i first = _mm256_set1_epi32(vnni::four_bytes(x[r] + k));
      high_sum[r] = _mm256_dpbusd_avx_epi32(high_sum[r], high, first);
      low_sum[r] =
          _mm256_dpbusd_avx_epi32(low_sum[r], high, _mm256_set1_epi32(vnni::four_bytes(x[r] + d.columns + k)));
      if (TwoSlices) low_sum[r] = _mm256_dpbusd_avx_epi32(low_sum[r], low, first);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + (row + r) * lanes + half),
                        _mm256_add_epi32(_mm256_slli_epi32(high_sum[r], 8), low_sum[r]));
}

template <bool TwoSlices>
FPF_AVX_VNNI inline void all_rows_dot(const Dot& d, std::int32_t* dots) {
  for (int half = 0; half < lanes; half += 8) {
    int row = 0;
    for (; row + 4 <= d.rows; row += 4) rows_dot<4, TwoSlices>(d, row, half, dots);
    for (; row < d.rows; ++row) rows_dot<1, TwoSlices>(d, row, half, dots);
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
