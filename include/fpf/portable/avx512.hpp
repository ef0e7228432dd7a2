// The portable execution's loops in AVX-512: sixteen lanes are one register.
#pragma once

#include <fpf/portable/attention_avx512.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable::avx512 {

namespace detail {

/// All lanes: GCC 12 warns of its own headers' forms without a mask (bug 105593).
inline constexpr __mmask16 all = 0xffff;

/// R rows over one block.
template <int R>
FPF_AVX512 inline void rows_chain(const Chain& c, const float* const* x, float* sums) {
  for (int first = 0; first < c.count; first += c.block_length) {
    const int end = first + c.block_length < c.count ? first + c.block_length : c.count;
    __m512 sum[R];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) sum[r] = _mm512_setzero_ps();
    const float* w = c.w + first * c.stride;
    for (int k = first; k < end; ++k, w += c.stride) {
      const __m512 weight = _mm512_loadu_ps(w);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r][k]), weight, sum[r]);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
      _mm512_storeu_ps(sums + r * lanes,
                       first == 0 ? sum[r] : _mm512_add_ps(_mm512_loadu_ps(sums + r * lanes), sum[r]));
  }
}

/// R rows and thirty-two columns of weights: each product of a row with two.
template <int R>
FPF_AVX512 inline void wide_chain(const Chain& c, const float* const* x, float* sums, float* more_sums) {
  for (int first = 0; first < c.count; first += c.block_length) {
    const int end = first + c.block_length < c.count ? first + c.block_length : c.count;
    __m512 sum[R], more[R];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) sum[r] = more[r] = _mm512_setzero_ps();
    const float *w = c.w + first * c.stride, *w_more = c.more + first * c.stride;
    for (int k = first; k < end; ++k, w += c.stride, w_more += c.stride) {
      const __m512 weight = _mm512_loadu_ps(w), weight_more = _mm512_loadu_ps(w_more);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const __m512 value = _mm512_set1_ps(x[r][k]);
        sum[r] = _mm512_fmadd_ps(value, weight, sum[r]);
        more[r] = _mm512_fmadd_ps(value, weight_more, more[r]);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      float *const to = sums + r * lanes, *const to_more = more_sums + r * lanes;
      _mm512_storeu_ps(to, first == 0 ? sum[r] : _mm512_add_ps(_mm512_loadu_ps(to), sum[r]));
      _mm512_storeu_ps(to_more, first == 0 ? more[r] : _mm512_add_ps(_mm512_loadu_ps(to_more), more[r]));
    }
  }
}

/// One row: four whole blocks at once, as one chain waits for every product.
FPF_AVX512 inline void one_row(const Chain& c, const float* x, float* sums) {
  const int length = c.block_length, whole = c.count / (4 * length) * (4 * length);
  __m512 total = _mm512_setzero_ps();
  for (int first = 0; first < whole; first += 4 * length) {
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    const std::ptrdiff_t apart = length * c.stride;
    const float* w = c.w + first * c.stride;
    for (int k = first; k < first + length; ++k, w += c.stride) {
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b)
        sum[b] = _mm512_fmadd_ps(_mm512_set1_ps(x[k + b * length]), _mm512_loadu_ps(w + b * apart), sum[b]);
    }
    total = first == 0 ? sum[0] : _mm512_add_ps(total, sum[0]);
    for (int b = 1; b < 4; ++b) total = _mm512_add_ps(total, sum[b]);
  }
  for (int first = whole; first < c.count; first += length) {
    const int end = first + length < c.count ? first + length : c.count;
    __m512 sum = _mm512_setzero_ps();
    for (int k = first; k < end; ++k)
      sum = _mm512_fmadd_ps(_mm512_set1_ps(x[k]), _mm512_loadu_ps(c.w + k * c.stride), sum);
    total = first == 0 ? sum : _mm512_add_ps(total, sum);
  }
  _mm512_storeu_ps(sums, total);
}

/// A column's codes of sixteen rows.
FPF_AVX512 inline __m512i codes_of(const std::uint32_t* codes, int column) {
  const __m512i words = _mm512_loadu_si512(codes + four_bit_word(column));
  const __m512i shifted = _mm512_maskz_srl_epi32(all, words, _mm_cvtsi32_si128(four_bit_shift(column)));
  return _mm512_maskz_and_epi32(all, shifted, _mm512_set1_epi32(15));
}

}  // namespace detail

/// Sixteen columns.
FPF_AVX512 inline void narrow_chain(const Chain& c, float* sums) {
  const float* x[12];
  for (int row = 0; row < c.rows;) {
    const int rows = c.rows - row < 12 ? c.rows - row : 12;
    for (int r = 0; r < rows; ++r) x[r] = c.x[row + r] + c.first;
    float* const to = sums + row * lanes;
    row += rows;
    switch (rows) {
      case 1:
        detail::one_row(c, x[0], to);
        break;
      case 2:
        detail::rows_chain<2>(c, x, to);
        break;
      case 3:
        detail::rows_chain<3>(c, x, to);
        break;
      case 4:
        detail::rows_chain<4>(c, x, to);
        break;
      case 5:
        detail::rows_chain<5>(c, x, to);
        break;
      case 6:
        detail::rows_chain<6>(c, x, to);
        break;
      case 7:
        detail::rows_chain<7>(c, x, to);
        break;
      case 8:
        detail::rows_chain<8>(c, x, to);
        break;
      case 9:
        detail::rows_chain<9>(c, x, to);
        break;
      case 10:
        detail::rows_chain<10>(c, x, to);
        break;
      case 11:
        detail::rows_chain<11>(c, x, to);
        break;
      default:
        detail::rows_chain<12>(c, x, to);
        break;
    }
  }
}

FPF_AVX512 inline void chain(const Chain& c, float* sums) {
  constexpr int least = 4;  // rows that are worth it
  if (c.more == nullptr || c.rows < least) return portable::detail::chain_in_turn<narrow_chain>(c, sums);
  float* const more = sums + c.rows * lanes;
  const float* x[12];
  int row = 0;
  while (c.rows - row >= least) {
    const int rows = c.rows - row >= 12 ? 12 : c.rows - row >= 8 ? 8 : 4;
    for (int r = 0; r < rows; ++r) x[r] = c.x[row + r] + c.first;
    float *const to = sums + row * lanes, *const to_more = more + row * lanes;
    if (rows == 12) {
      detail::wide_chain<12>(c, x, to, to_more);
    } else {
      rows == 8 ? detail::wide_chain<8>(c, x, to, to_more) : detail::wide_chain<4>(c, x, to, to_more);
    }
    row += rows;
  }
  if (row == c.rows) return;
  Chain rest = c;
  rest.x += row;
  rest.rows -= row;
  narrow_chain(rest, sums + row * lanes);
  rest.w = c.more;
  narrow_chain(rest, more + row * lanes);
}

FPF_AVX512 inline void unpack_int4(const std::uint32_t* codes, int first, int count, const float* scales,
                                   const std::uint8_t* zeros, float* w) {
  const __m512 scale = _mm512_loadu_ps(scales);
  const __m512 zero = _mm512_maskz_cvtepi32_ps(
      detail::all, _mm512_maskz_cvtepu8_epi32(detail::all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(zeros))));
  for (int k = 0; k < count; ++k) {
    const __m512 code = _mm512_maskz_cvtepi32_ps(detail::all, detail::codes_of(codes, first + k));
    _mm512_storeu_ps(w + k * lanes, _mm512_mul_ps(_mm512_sub_ps(code, zero), scale));
  }
}

FPF_AVX512 inline void unpack_map(const std::uint32_t* codes, int first, int count, const float* absmax,
                                  const float* map, float* w) {
  const __m512 scale = _mm512_loadu_ps(absmax), values = _mm512_loadu_ps(map);
  for (int k = 0; k < count; ++k)
    _mm512_storeu_ps(
        w + k * lanes,
        _mm512_mul_ps(_mm512_maskz_permutexvar_ps(detail::all, detail::codes_of(codes, first + k), values), scale));
}

FPF_AVX512 inline void widen_bfloat16(const std::uint16_t* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = float_of(static_cast<unsigned>(from[i]) << 16);
}
FPF_AVX512 inline void widen_float16(const std::uint16_t* from, float* to, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    _mm512_storeu_ps(
        to + i, _mm512_maskz_cvtph_ps(detail::all, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i))));
  for (; i < count; ++i) to[i] = float32_from_float16(from[i]);
}
FPF_AVX512 inline void exp_below(float* x, float maximum, std::int64_t count) {
  portable::detail::exp_below(x, maximum, count);
}
FPF_AVX512 inline void silu_mul(const float* gate, const float* up, float* out, std::int64_t count) {
  portable::detail::silu_mul(gate, up, out, count);
}
FPF_AVX512 inline void norm(const float* x, const float* weight, float eps, std::int64_t count, float* out) {
  portable::detail::norm(x, weight, eps, count, out);
}
FPF_AVX512 inline void rotate(float* x, const float* cos, const float* sin, std::int64_t half) {
  portable::detail::rotate(x, cos, sin, half);
}
FPF_AVX512 inline float sum(const float* x, std::int64_t count) {
  return ordered_sum<false>(x, static_cast<int>(count));
}
FPF_AVX512 inline float log_sum(const float* x, std::int64_t count) {
  return log(ordered_sum<false>(x, static_cast<int>(count)));
}
FPF_AVX512 inline void join_softmaxes(const SoftmaxRows& rows) { portable::detail::join_softmaxes(rows); }
FPF_AVX512 inline void join(float* sums, const float* block_sums, float old_scale, float new_scale,
                            std::int64_t count) {
  portable::detail::join(sums, block_sums, old_scale, new_scale, count);
}
FPF_AVX512 inline void add_all(float* out, const float* x, std::int64_t count) {
  portable::detail::add_all(out, x, count);
}
FPF_AVX512 inline void add_scaled(float* out, const float* x, float factor, std::int64_t count) {
  portable::detail::add_scaled(out, x, factor, count);
}

inline constexpr Loops loops{.chain = chain,
                             .unpack_int4 = unpack_int4,
                             .unpack_map = unpack_map,
                             .widen_bfloat16 = widen_bfloat16,
                             .widen_float16 = widen_float16,
                             .exp_below = exp_below,
                             .silu_mul = silu_mul,
                             .norm = norm,
                             .rotate = rotate,
                             .sum = sum,
                             .log_sum = log_sum,
                             .softmax_block = softmax_block,
                             .join_softmaxes = join_softmaxes,
                             .join = join,
                             .add_all = add_all,
                             .add_scaled = add_scaled};

}  // namespace fpf::portable::avx512
#endif
