// Attention's loops over several query rows at a time, in AVX-512: what one row adds up one after another, rows add up
// beside each other.
#pragma once

#include <fpf/portable/integer_lanes.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable::avx512 {

namespace detail {

inline constexpr int block_vectors = integer_position_block / lanes;

/// Which of sixteen positions from 16 i on a row sees.
inline __mmask16 seen(int count, int i) {
  const int here = count - lanes * i;
  return static_cast<__mmask16>(here >= lanes ? 0xffffu : here <= 0 ? 0u : (1u << here) - 1u);
}

/// exp2_of_unit of y held within 0..1.
FPF_AVX512 inline __m512 exp2_of_unit(__m512 y) {
  const __m512 scale = _mm512_set1_ps(64.0f), shift = _mm512_set1_ps(12582912.0f - 64.0f);
  y = _mm512_maskz_min_ps(0xffff, _mm512_maskz_max_ps(0xffff, y, _mm512_setzero_ps()), _mm512_set1_ps(1.0f));
  const __m512 t = _mm512_fmadd_ps(y, scale, shift), f = _mm512_fmsub_ps(y, scale, _mm512_sub_ps(t, shift));
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.009582852944731712f), f, _mm512_set1_ps(0.055906426161527634f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24024099111557007f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931241750717163f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  const __m512i power = _mm512_maskz_slli_epi32(0xffff, _mm512_castps_si512(t), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), power));
}

/// Of numbers.
FPF_AVX512 inline float largest(const __m512 (&x)[block_vectors]) {
  __m512 out = x[0];
#pragma GCC unroll 8
  for (int i = 1; i < block_vectors; ++i) out = _mm512_maskz_max_ps(0xffff, out, x[i]);
  alignas(64) float all[lanes];
  _mm512_store_ps(all, out);
  const __m256 eight = _mm256_max_ps(_mm256_load_ps(all), _mm256_load_ps(all + 8));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

FPF_AVX512 inline std::int32_t sum_of(__m512i x) {
  alignas(64) std::int32_t all[lanes];
  _mm512_store_si512(all, x);
  const auto* const halves = reinterpret_cast<const __m256i*>(all);
  const __m256i eight = _mm256_add_epi32(_mm256_load_si256(halves), _mm256_load_si256(halves + 1));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/// A block's weights of one row, and what is largest in it.
struct alignas(64) Weights {
  float of[integer_position_block];
  float highest, value_unit;
};

FPF_AVX512 inline void weights_of(const AttentionRow& row, Weights& out) {
  const __m512 none = _mm512_set1_ps(-__builtin_inff());
  __m512 scores[block_vectors], units[block_vectors];
#pragma GCC unroll 8
  for (int i = 0; i < block_vectors; ++i) {
    const __mmask16 mask = seen(row.count, i);
    const __m512 dots = _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_loadu_epi32(mask, row.dots + lanes * i));
    const __m512 key_units = _mm512_maskz_loadu_ps(mask, row.key_units + lanes * i);
    scores[i] = _mm512_mask_mul_ps(none, mask, dots, key_units);
    units[i] = _mm512_maskz_loadu_ps(mask, row.value_units + lanes * i);
  }
  out.highest = mul(largest(scores), row.factor);
  out.value_unit = largest(units);
  const __m512 factor = _mm512_set1_ps(mul(row.factor, 0.015625f));
  const __m512 offset = _mm512_set1_ps(sub(1.0f, mul(out.highest, 0.015625f)));
#pragma GCC unroll 8
  for (int i = 0; i < block_vectors; ++i)
    _mm512_store_ps(out.of + lanes * i,
                    _mm512_maskz_mov_ps(seen(row.count, i), exp2_of_unit(_mm512_fmadd_ps(scores[i], factor, offset))));
}

/// The chains of four rows' weights, added up: [row].
FPF_AVX512 inline void add_up(const Weights (&rows)[4], float (&sums)[4]) {
  __m512 chains = _mm512_setzero_ps();
  for (int j = 0; j < integer_position_block; j += 8) {
    const auto four = [&](int at) FPF_AVX512 {
      __m512 out = _mm512_castps128_ps512(_mm_load_ps(rows[0].of + at));
      out = _mm512_maskz_insertf32x4(0xffff, out, _mm_load_ps(rows[1].of + at), 1);
      out = _mm512_maskz_insertf32x4(0xffff, out, _mm_load_ps(rows[2].of + at), 2);
      return _mm512_maskz_insertf32x4(0xffff, out, _mm_load_ps(rows[3].of + at), 3);
    };
    const __m512 first = four(j), second = four(j + 4);
    chains = _mm512_add_ps(chains, _mm512_maskz_shuffle_ps(0xffff, first, second, 0x88));
    chains = _mm512_add_ps(chains, _mm512_maskz_shuffle_ps(0xffff, first, second, 0xdd));
  }
  alignas(64) float of[4][4];
  _mm512_store_ps(of, chains);
  for (int r = 0; r < 4; ++r) sums[r] = add(add(of[r][0], of[r][1]), add(of[r][2], of[r][3]));
}

FPF_AVX512 inline void finish(const AttentionRow& row, const Weights& weights, float total) {
  const __m512 inverse = _mm512_set1_ps(inverse_power(weights.value_unit)), most = _mm512_set1_ps(attention_weight);
  const __m512 shift = _mm512_set1_ps(12582912.0f);
  __m512i sums = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int i = 0; i < block_vectors; ++i) {
    const __mmask16 mask = seen(row.count, i);
    const __m512 units = _mm512_maskz_loadu_ps(mask, row.value_units + lanes * i);
    const __m512 scale = _mm512_mul_ps(_mm512_mul_ps(units, inverse), most);
    const __m512 shifted = _mm512_fmadd_ps(_mm512_load_ps(weights.of + lanes * i), scale, shift);
    const __m512i w = _mm512_maskz_sub_epi32(mask, _mm512_castps_si512(shifted), _mm512_set1_epi32(0x4b400000));
    sums = _mm512_add_epi32(sums, w);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row.weights + lanes * i), _mm512_maskz_cvtepi32_epi16(0xffff, w));
  }
  *row.weight_sum = sum_of(sums);
  const float next = larger(*row.maximum, weights.highest), new_scale = exp2_below(sub(weights.highest, next));
  *row.old_scale = exp2_below(sub(*row.maximum, next));
  *row.sum = fma(total, new_scale, mul(*row.sum, *row.old_scale));
  *row.maximum = next;
  *row.new_scale = mul(new_scale, mul(weights.value_unit, attention_value));
}

/// Sums of sixteen rows of 64, position by position.
FPF_AVX512 inline void add_up_sixteen(const float* rows, float* sums) {
  __m512 total = _mm512_setzero_ps();
  for (int j = 0; j < position_block; j += 4) {
    __m512 four[4];  // of rows i, i + 4, i + 8 and i + 12
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const float* const from = rows + i * position_block + j;
      four[i] = _mm512_castps128_ps512(_mm_loadu_ps(from));
      four[i] = _mm512_maskz_insertf32x4(0xffff, four[i], _mm_loadu_ps(from + 4 * position_block), 1);
      four[i] = _mm512_maskz_insertf32x4(0xffff, four[i], _mm_loadu_ps(from + 8 * position_block), 2);
      four[i] = _mm512_maskz_insertf32x4(0xffff, four[i], _mm_loadu_ps(from + 12 * position_block), 3);
    }
    const __m512 a = _mm512_maskz_unpacklo_ps(0xffff, four[0], four[1]),
                 b = _mm512_maskz_unpackhi_ps(0xffff, four[0], four[1]);
    const __m512 c = _mm512_maskz_unpacklo_ps(0xffff, four[2], four[3]),
                 d = _mm512_maskz_unpackhi_ps(0xffff, four[2], four[3]);
    total = _mm512_add_ps(total, _mm512_maskz_shuffle_ps(0xffff, a, c, 0x44));
    total = _mm512_add_ps(total, _mm512_maskz_shuffle_ps(0xffff, a, c, 0xee));
    total = _mm512_add_ps(total, _mm512_maskz_shuffle_ps(0xffff, b, d, 0x44));
    total = _mm512_add_ps(total, _mm512_maskz_shuffle_ps(0xffff, b, d, 0xee));
  }
  _mm512_storeu_ps(sums, total);  // rows 0, 1, 2, 3, then 4 ...: a lane's four are rows of one insert
}

}  // namespace detail

FPF_AVX512 inline void softmax_block(float* scores, std::int64_t rows, float* maxima, float* sums) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const row = scores + r * position_block;
    __m512 most = _mm512_loadu_ps(row);
    for (int j = lanes; j < position_block; j += lanes)
      most = _mm512_maskz_max_ps(0xffff, _mm512_loadu_ps(row + j), most);  // larger(most, x), of NaNs too
    alignas(64) float of_lanes[lanes];
    _mm512_store_ps(of_lanes, most);
    float maximum = of_lanes[0];
    for (int lane = 1; lane < lanes; ++lane) maximum = larger(maximum, of_lanes[lane]);
    maxima[r] = maximum;
    for (int j = 0; j < position_block; ++j) row[j] = portable::exp(sub(row[j], maximum));
  }
  std::int64_t r = 0;
  for (; r + lanes <= rows; r += lanes) detail::add_up_sixteen(scores + r * position_block, sums + r);
  for (; r < rows; ++r) {
    sums[r] = 0.0f;
    for (int j = 0; j < position_block; ++j) sums[r] = add(sums[r], scores[r * position_block + j]);
  }
}

FPF_AVX512 inline void weigh(const AttentionRow* rows, int count) {
  detail::Weights weights[4] = {};
  for (int first = 0; first < count; first += 4) {
    const int here = count - first < 4 ? count - first : 4;
    for (int r = 0; r < here; ++r) detail::weights_of(rows[first + r], weights[r]);
    float sums[4];
    detail::add_up(weights, sums);
    for (int r = 0; r < here; ++r) detail::finish(rows[first + r], weights[r], sums[r]);
  }
}

}  // namespace fpf::portable::avx512
#endif
