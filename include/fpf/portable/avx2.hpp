// The portable execution's loops in AVX2: sixteen lanes are two registers.
#pragma once

#include <fpf/portable/lanes.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable::avx2 {

namespace detail {

/// R rows, block by block.
template <int R>
FPF_AVX2 inline void rows_chain(const Chain& c, const float* const* x, float* sums) {
  for (int first = 0; first < c.count; first += c.block_length) {
    const int end = first + c.block_length < c.count ? first + c.block_length : c.count;
    __m256 low[R], high[R];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) low[r] = high[r] = _mm256_setzero_ps();
    const float* w = c.w + first * c.stride;
    for (int k = first; k < end; ++k, w += c.stride) {
      const __m256 w_low = _mm256_loadu_ps(w), w_high = _mm256_loadu_ps(w + 8);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m256 value = _mm256_set1_ps(x[r][k]);
        low[r] = _mm256_fmadd_ps(value, w_low, low[r]);
        high[r] = _mm256_fmadd_ps(value, w_high, high[r]);
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      float* const to = sums + r * lanes;
      _mm256_storeu_ps(to, first == 0 ? low[r] : _mm256_add_ps(_mm256_loadu_ps(to), low[r]));
      _mm256_storeu_ps(to + 8, first == 0 ? high[r] : _mm256_add_ps(_mm256_loadu_ps(to + 8), high[r]));
    }
  }
}

/// Half of sixteen lanes of one row: four whole blocks at once, as one chain waits for every product.
FPF_AVX2 inline void one_row(const Chain& c, const float* x, int half, float* sums) {
  const int length = c.block_length, whole = c.count / (4 * length) * (4 * length);
  const float* const weights = c.w + half;
  __m256 total = _mm256_setzero_ps();
  for (int first = 0; first < whole; first += 4 * length) {
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    const std::ptrdiff_t apart = length * c.stride;
    const float* w = weights + first * c.stride;
    for (int k = first; k < first + length; ++k, w += c.stride) {
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b)
        sum[b] = _mm256_fmadd_ps(_mm256_set1_ps(x[k + b * length]), _mm256_loadu_ps(w + b * apart), sum[b]);
    }
    total = first == 0 ? sum[0] : _mm256_add_ps(total, sum[0]);
    for (int b = 1; b < 4; ++b) total = _mm256_add_ps(total, sum[b]);
  }
  for (int first = whole; first < c.count; first += length) {
    const int end = first + length < c.count ? first + length : c.count;
    __m256 sum = _mm256_setzero_ps();
    for (int k = first; k < end; ++k)
      sum = _mm256_fmadd_ps(_mm256_set1_ps(x[k]), _mm256_loadu_ps(weights + k * c.stride), sum);
    total = first == 0 ? sum : _mm256_add_ps(total, sum);
  }
  _mm256_storeu_ps(sums + half, total);
}

/// A column's codes of eight rows, from 0 or from 8 on.
FPF_AVX2 inline __m256i codes_of(const std::uint32_t* codes, int column, int half) {
  const auto* const words = reinterpret_cast<const __m256i*>(codes + four_bit_word(column) + half);
  const __m128i shift = _mm_cvtsi32_si128(four_bit_shift(column));
  return _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(words), shift), _mm256_set1_epi32(15));
}

}  // namespace detail

FPF_AVX2 inline void chain(const Chain& c, float* sums) {
  const float* x[6];
  for (int row = 0; row < c.rows;) {
    const int rows = c.rows - row < 6 ? c.rows - row : 6;
    for (int r = 0; r < rows; ++r) x[r] = c.x[row + r] + c.first;
    float* const to = sums + row * lanes;
    row += rows;
    switch (rows) {
      case 1:
        detail::one_row(c, x[0], 0, to);
        detail::one_row(c, x[0], 8, to);
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
      default:
        detail::rows_chain<6>(c, x, to);
        break;
    }
  }
}

FPF_AVX2 inline void unpack_int4(const std::uint32_t* codes, int first, int count, const float* scales,
                                 const std::uint8_t* zeros, float* w) {
  for (int half = 0; half < lanes; half += 8) {
    const __m256 scale = _mm256_loadu_ps(scales + half);
    const __m256 zero =
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(zeros + half))));
    for (int k = 0; k < count; ++k) {
      const __m256 code = _mm256_cvtepi32_ps(detail::codes_of(codes, first + k, half));
      _mm256_storeu_ps(w + k * lanes + half, _mm256_mul_ps(_mm256_sub_ps(code, zero), scale));
    }
  }
}

FPF_AVX2 inline void unpack_map(const std::uint32_t* codes, int first, int count, const float* absmax, const float* map,
                                float* w) {
  const __m256 low = _mm256_loadu_ps(map), high = _mm256_loadu_ps(map + 8);
  for (int half = 0; half < lanes; half += 8) {
    const __m256 scale = _mm256_loadu_ps(absmax + half);
    for (int k = 0; k < count; ++k) {
      const __m256i code = detail::codes_of(codes, first + k, half);
      const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));  // its sign says which half of the map
      const __m256 value =
          _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code), second);
      _mm256_storeu_ps(w + k * lanes + half, _mm256_mul_ps(value, scale));
    }
  }
}

FPF_AVX2 inline void widen_bfloat16(const std::uint16_t* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = float_of(static_cast<unsigned>(from[i]) << 16);
}
FPF_AVX2 inline void widen_float16(const std::uint16_t* from, float* to, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  for (; i < count; ++i) to[i] = float32_from_float16(from[i]);
}
FPF_AVX2 inline void exp_below(float* x, float maximum, std::int64_t count) {
  portable::detail::exp_below(x, maximum, count);
}
FPF_AVX2 inline void silu_mul(const float* gate, const float* up, float* out, std::int64_t count) {
  portable::detail::silu_mul(gate, up, out, count);
}
FPF_AVX2 inline void norm(const float* x, const float* weight, float eps, std::int64_t count, float* out) {
  portable::detail::norm(x, weight, eps, count, out);
}
FPF_AVX2 inline void rotate(float* x, const float* cos, const float* sin, std::int64_t half) {
  portable::detail::rotate(x, cos, sin, half);
}
FPF_AVX2 inline float sum(const float* x, std::int64_t count) { return ordered_sum<false>(x, static_cast<int>(count)); }
FPF_AVX2 inline float log_sum(const float* x, std::int64_t count) {
  return log(ordered_sum<false>(x, static_cast<int>(count)));
}
FPF_AVX2 inline void softmax_block(float* scores, std::int64_t rows, float* maxima, float* sums) {
  portable::detail::softmax_block(scores, rows, maxima, sums);
}
FPF_AVX2 inline void join_softmaxes(const SoftmaxRows& rows) { portable::detail::join_softmaxes(rows); }
FPF_AVX2 inline void join(float* sums, const float* block_sums, float old_scale, float new_scale, std::int64_t count) {
  portable::detail::join(sums, block_sums, old_scale, new_scale, count);
}
FPF_AVX2 inline void add_all(float* out, const float* x, std::int64_t count) {
  portable::detail::add_all(out, x, count);
}
FPF_AVX2 inline void add_scaled(float* out, const float* x, float factor, std::int64_t count) {
  portable::detail::add_scaled(out, x, factor, count);
}

inline constexpr Loops loops{.chain = portable::detail::chain_in_turn<chain>,
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

}  // namespace fpf::portable::avx2
#endif
