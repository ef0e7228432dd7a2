// The integer loops where a CPU multiplies bytes (VNNI): 512 bits with AVX-512, 256 bits with AVX-VNNI.
#pragma once

#include <fpf/portable/attention_avx512.hpp>
#include <fpf/portable/avx512.hpp>
#include <fpf/portable/integer_avx2.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable {

namespace vnni {

FPF_AVX2 inline void spread(const std::int16_t* q, std::int64_t columns, std::byte* to) {
  portable::detail::spread_slices(q, columns, to);
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
FPF_AVX512_VNNI inline void rows_dot(const Dot& d, int row) {
  const std::int8_t* x[R];
  Sums high_sums[R], low_sums[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(d.x.row(row + r)) + d.first;
    high_sums[r] = low_sums[r] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m512i high = _mm512_loadu_si512(d.high + k * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) add(high_sums[r], high, x[r] + k, d.x.columns);
    if (!Slices) continue;
    const __m512i low = _mm512_loadu_si512(d.low + k * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) add(low_sums[r], low, x[r] + k, d.x.columns);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512i sum =
        Slices ? joined_slices(total(high_sums[r]), total(low_sums[r]), d.sums[row + r]) : total(high_sums[r]);
    _mm512_storeu_si512(d.dots + (row + r) * d.stride, sum);
  }
}

/// What a product's codes come with, or that weights are slices.
enum class With : std::uint8_t { slices, zeros, minima };

/// A group's values of sixteen lanes.
struct GroupLanes {
  __m512 scales, minima;
  __m512i zeros;
};
template <With W>
FPF_AVX512_VNNI inline GroupLanes lanes_of(const GroupedProduct& p, int group) {
  GroupLanes out{};
  out.scales = _mm512_loadu_ps(p.scales + group * lanes);
  if (W == With::minima) out.minima = _mm512_loadu_ps(p.minima + group * lanes);
  if (W == With::zeros) {
    const auto* const zeros = reinterpret_cast<const __m128i*>(p.zeros + group * lanes);
    out.zeros = _mm512_maskz_cvtepu8_epi32(avx512::detail::all, _mm_loadu_si128(zeros));
  }
  return out;
}

/// A row's results with a group's dot products; `total` is unit times sum.
template <With W>
FPF_AVX512_VNNI __attribute__((always_inline)) inline __m512 with_dots(__m512 results, __m512i dots,
                                                                       const GroupLanes& group, std::int32_t sum,
                                                                       float unit, float total) {
  if (W == With::zeros)
    dots = _mm512_sub_epi32(dots, _mm512_maskz_mullo_epi32(avx512::detail::all, group.zeros, _mm512_set1_epi32(sum)));
  const __m512 values = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(avx512::detail::all, dots), _mm512_set1_ps(unit));
  results = _mm512_fmadd_ps(values, group.scales, results);
  return W == With::minima ? _mm512_fmadd_ps(_mm512_set1_ps(total), group.minima, results) : results;
}

/// R rows, whose results stay in registers.
template <int R, With W>
FPF_AVX512_VNNI inline void rows_product(const GroupedProduct& p, int row) {
  constexpr bool is_sliced = W == With::slices;
  const std::int8_t* x[R];
  __m512 results[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(p.x.row(row + r));
    results[r] = _mm512_loadu_ps(p.results + (row + r) * lanes);
  }
  const std::uint8_t *high = p.high, *low = p.low;
  std::int64_t k = p.groups[0].begin;
  for (int i = 0; i < p.count; ++i) {
    Sums high_sums[R], low_sums[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) high_sums[r] = low_sums[r] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (; k < p.groups[i].end; k += 4, high += 4 * lanes) {
      const __m512i weights = _mm512_loadu_si512(high);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) add(high_sums[r], weights, x[r] + k, p.x.columns);
      if (!is_sliced) continue;
      const __m512i low_weights = _mm512_loadu_si512(low);
      low += 4 * lanes;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) add(low_sums[r], low_weights, x[r] + k, p.x.columns);
    }
    const GroupLanes group = lanes_of<W>(p, i);
    const std::int64_t at = i * p.stride + row;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const std::int32_t sum = p.sums[at + r];
      const float unit = p.units[at + r], of_minima = W == With::minima ? mul(static_cast<float>(sum), unit) : 0.0f;
      const __m512i dots =
          is_sliced ? joined_slices(total(high_sums[r]), total(low_sums[r]), sum) : total(high_sums[r]);
      results[r] = with_dots<W>(results[r], dots, group, sum, unit, of_minima);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) _mm512_storeu_ps(p.results + (row + r) * lanes, results[r]);
}

template <With W>
FPF_AVX512_VNNI inline void all_rows_product(const GroupedProduct& p) {
  int row = 0;
  if (W != With::slices)
    for (; row + 8 <= p.rows; row += 8) rows_product<8, W>(p, row);
  for (; row + 4 <= p.rows; row += 4) rows_product<4, W>(p, row);
  for (; row < p.rows; ++row) rows_product<1, W>(p, row);
}

template <bool Slices>
FPF_AVX512_VNNI inline void all_rows_dot(const Dot& d) {
  int row = 0;
  if (!Slices)
    for (; row + 8 <= d.rows; row += 8) rows_dot<8, Slices>(d, row);
  for (; row + 4 <= d.rows; row += 4) rows_dot<4, Slices>(d, row);
  for (; row < d.rows; ++row) rows_dot<1, Slices>(d, row);
}

}  // namespace detail

FPF_AVX512_VNNI inline void dot(const Dot& d) {
  d.low == nullptr ? detail::all_rows_dot<false>(d) : detail::all_rows_dot<true>(d);
}

FPF_AVX512_VNNI inline void product(const GroupedProduct& p) {
  using enum detail::With;
  if (p.low != nullptr) return detail::all_rows_product<slices>(p);
  p.minima != nullptr ? detail::all_rows_product<minima>(p) : detail::all_rows_product<zeros>(p);
}

FPF_AVX512_VNNI inline unsigned integers(const float* x, int count, std::int16_t* q) {
  return portable::detail::integers(x, count, q);
}
FPF_AVX512_VNNI inline void end_values(const ValueEnd& v) { portable::detail::end_values(v); }

inline constexpr IntegerLoops integer_loops{.tiles = false,
                                            .spread = vnni::spread,
                                            .dot = dot,
                                            .product = product,
                                            .unpack_codes = avx2::unpack_codes,
                                            .unpack_map = avx2::unpack_map,
                                            .integers = integers,
                                            .end_values = end_values,
                                            .weigh = avx512::weigh};

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
FPF_AVX_VNNI inline void rows_dot(const Dot& d, int row, int half) {
  const std::int8_t* x[R];
  Sums high_sums[R], low_sums[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const std::int8_t*>(d.x.row(row + r)) + d.first;
    high_sums[r] = low_sums[r] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  for (int k = 0; k < d.count; k += 4) {
    const __m256i high = avx2::detail::eight_lanes(d.high + k * lanes + 4 * half);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) add(high_sums[r], high, x[r] + k, d.x.columns);
    if (!Slices) continue;
    const __m256i low = avx2::detail::eight_lanes(d.low + k * lanes + 4 * half);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) add(low_sums[r], low, x[r] + k, d.x.columns);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m256i sum = Slices ? avx2::detail::joined_slices(total(high_sums[r]), total(low_sums[r]), d.sums[row + r])
                               : total(high_sums[r]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(d.dots + (row + r) * d.stride + half), sum);
  }
}

template <bool Slices>
FPF_AVX_VNNI inline void all_rows_dot(const Dot& d) {
  constexpr int most = Slices ? 2 : 4;
  for (int half = 0; half < lanes; half += 8) {
    int row = 0;
    for (; row + most <= d.rows; row += most) rows_dot<most, Slices>(d, row, half);
    for (; row < d.rows; ++row) rows_dot<1, Slices>(d, row, half);
  }
}

}  // namespace detail

FPF_AVX_VNNI inline void dot(const Dot& d) {
  d.low == nullptr ? detail::all_rows_dot<false>(d) : detail::all_rows_dot<true>(d);
}

inline void product(const GroupedProduct& p) { portable::detail::product_of_dots<dot, avx2::end_group>(p); }

inline constexpr IntegerLoops integer_loops = [] {
  IntegerLoops out = avx2::integer_loops;
  out.spread = vnni::spread;
  out.dot = dot;
  out.product = product;
  return out;
}();

}  // namespace avx_vnni

}  // namespace fpf::portable
#endif
