// The loops that vector instructions carry out, as a table of functions, and their plain form: sixteen independent
// results at a time, so that no order of additions depends on how wide a CPU's vectors are.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fpf/core/half.hpp>
#include <fpf/kernel/shared/portable_arithmetic.hpp>
#include <fpf/portable/instruction_set.hpp>

namespace fpf::portable {

inline constexpr int lanes = 16;

/// Rows of x given by their first elements, and sixteen columns of weights, w[k * stride + lane].
struct Chain {
  const float* const* x;  // [rows]
  std::int64_t first;     // where in every row the reduction begins
  int rows;
  const float* w;
  std::ptrdiff_t stride;
  int count;                    // products
  int block_length;             // in one chain; the chains' sums are added in order
  const float* more = nullptr;  // sixteen more columns, as w; their sums follow those of all rows
};

/// Of `count` rows: what they know, a block's, and the factors that joining gives.
struct SoftmaxRows {
  std::int64_t count;
  float *maxima, *sums;
  const float *block_maxima, *block_sums;
  float *old_scales, *new_scales;
};

/// Codes of sixteen rows are uint32 [columns / 8][16]: the low half of byte i has column i's code, the high half column
/// i + 4's.
constexpr std::int64_t four_bit_word(std::int64_t column) { return column / 8 * lanes; }
constexpr int four_bit_shift(std::int64_t column) { return static_cast<int>(column % 4 * 8 + column % 8 / 4 * 4); }

struct Loops {
  /// sums[row * 16 + lane], and of more columns from sums[rows * 16] on
  void (*chain)(const Chain& c, float* sums);
  /// `count` int4 columns of sixteen rows from `first` on, all of one group; codes as four_bit_word() has them.
  /// -> w[column * 16 + row]
  void (*unpack_int4)(const std::uint32_t* codes, int first, int count, const float* scales, const std::uint8_t* zeros,
                      float* w);
  /// The same for codes into a map of sixteen values, times absmax.
  void (*unpack_map)(const std::uint32_t* codes, int first, int count, const float* absmax, const float* map, float* w);
  void (*widen_bfloat16)(const std::uint16_t* from, float* to, std::int64_t count);
  void (*widen_float16)(const std::uint16_t* from, float* to, std::int64_t count);
  /// x <- exp(x - maximum)
  void (*exp_below)(float* x, float maximum, std::int64_t count);
  /// out <- silu(gate) * up
  void (*silu_mul)(const float* gate, const float* up, float* out, std::int64_t count);
  /// RMSNorm of one row; out may be x
  void (*norm)(const float* x, const float* weight, float eps, std::int64_t count, float* out);
  /// RoPE by halves of one head, in place; cos and sin [half]
  void (*rotate)(float* x, const float* cos, const float* sin, std::int64_t half);
  /// sum of so many terms, in the order of a reduction
  float (*sum)(const float* x, std::int64_t count);
  /// ln of that
  float (*log_sum)(const float* x, std::int64_t count);
  /// Scores of `rows` rows of 64 -> exponentials relative to each row's largest; maxima and sums [rows]
  void (*softmax_block)(float* scores, std::int64_t rows, float* maxima, float* sums);
  /// join_softmax of rows
  void (*join_softmaxes)(const SoftmaxRows& rows);
  /// An attention block's sums into what was summed before; see joined()
  void (*join)(float* sums, const float* block_sums, float old_scale, float new_scale, std::int64_t count);
  /// out <- out + x
  void (*add_all)(float* out, const float* x, std::int64_t count);
  /// out <- out + x * factor, one fused operation each
  void (*add_scaled)(float* out, const float* x, float factor, std::int64_t count);
};

namespace detail {

/// Sixteen columns, then sixteen more.
template <void (*chain)(const Chain&, float*)>
void chain_in_turn(const Chain& c, float* sums) {
  Chain one = c;
  chain(one, sums);
  if (c.more == nullptr) return;
  one.w = c.more;
  chain(one, sums + c.rows * lanes);
}

// What compilers make vectors of by themselves: one text, carried out by the instruction set of the function around it.

FPF_HD void exp_below(float* x, float maximum, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = exp(sub(x[i], maximum));
}
FPF_HD void silu_mul(const float* gate, const float* up, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = mul(silu(gate[i]), up[i]);
}
FPF_HD void norm(const float* x, const float* weight, float eps, std::int64_t count, float* out) {
  const float inverse = inverse_root(ordered_sum<true>(x, static_cast<int>(count)), static_cast<float>(count), eps);
  for (std::int64_t i = 0; i < count; ++i) out[i] = normalised(x[i], inverse, weight[i]);
}
FPF_HD void rotate(float* x, const float* cos, const float* sin, std::int64_t half) {
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    x[i] = turned_low(a, b, cos[i], sin[i]);
    x[half + i] = turned_high(a, b, cos[i], sin[i]);
  }
}
FPF_HD void softmax_block(float* scores, std::int64_t rows, float* maxima, float* sums) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const row = scores + r * position_block;
    float most[lanes];
    for (int lane = 0; lane < lanes; ++lane) most[lane] = row[lane];
    for (int j = lanes; j < position_block; j += lanes)
      for (int lane = 0; lane < lanes; ++lane) most[lane] = larger(most[lane], row[j + lane]);
    for (int lane = 1; lane < lanes; ++lane) most[0] = larger(most[0], most[lane]);
    maxima[r] = most[0];
    for (int j = 0; j < position_block; ++j) row[j] = exp(sub(row[j], most[0]));
    sums[r] = 0.0f;
  }
  for (int j = 0; j < position_block; ++j)
    for (std::int64_t r = 0; r < rows; ++r) sums[r] = add(sums[r], scores[r * position_block + j]);
}
FPF_HD void join_softmaxes(const SoftmaxRows& s) {
  for (std::int64_t r = 0; r < s.count; ++r)
    join_softmax(s.maxima[r], s.sums[r], s.block_maxima[r], s.block_sums[r], s.old_scales[r], s.new_scales[r]);
}
FPF_HD void join(float* sums, const float* block_sums, float old_scale, float new_scale, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sums[i] = joined(sums[i], add(block_sums[i], 0.0f), old_scale, new_scale);
}
FPF_HD void add_all(float* out, const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = add(out[i], x[i]);
}
FPF_HD void add_scaled(float* out, const float* x, float factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = fma(factor, x[i], out[i]);
}

}  // namespace detail

namespace plain {

FPF_EXACT inline void chain(const Chain& c, float* sums) {
  for (int r = 0; r < c.rows; ++r) {
    const float* const x = c.x[r] + c.first;
    for (int first = 0; first < c.count; first += c.block_length) {
      const int end = first + c.block_length < c.count ? first + c.block_length : c.count;
      for (int lane = 0; lane < lanes; ++lane) {
        float sum = 0.0f;
        for (int k = first; k < end; ++k) sum = fma(x[k], c.w[k * c.stride + lane], sum);
        float& total = sums[r * lanes + lane];
        total = first == 0 ? sum : add(total, sum);
      }
    }
  }
}

FPF_EXACT inline void unpack_int4(const std::uint32_t* codes, int first, int count, const float* scales,
                                  const std::uint8_t* zeros, float* w) {
  for (int k = first; k < first + count; ++k, w += lanes)
    for (int row = 0; row < lanes; ++row) {
      const auto code = static_cast<float>(codes[four_bit_word(k) + row] >> four_bit_shift(k) & 15u);
      w[row] = int4_weight(code, static_cast<float>(zeros[row]), scales[row]);
    }
}

FPF_EXACT inline void unpack_map(const std::uint32_t* codes, int first, int count, const float* absmax,
                                 const float* map, float* w) {
  for (int k = first; k < first + count; ++k, w += lanes)
    for (int row = 0; row < lanes; ++row)
      w[row] = mul(map[codes[four_bit_word(k) + row] >> four_bit_shift(k) & 15u], absmax[row]);
}

inline void widen_bfloat16(const std::uint16_t* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = float_of(static_cast<unsigned>(from[i]) << 16);
}
inline void widen_float16(const std::uint16_t* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = float32_from_float16(from[i]);
}
FPF_EXACT inline void exp_below(float* x, float maximum, std::int64_t count) {
  portable::detail::exp_below(x, maximum, count);
}
FPF_EXACT inline void silu_mul(const float* gate, const float* up, float* out, std::int64_t count) {
  portable::detail::silu_mul(gate, up, out, count);
}
FPF_EXACT inline void norm(const float* x, const float* weight, float eps, std::int64_t count, float* out) {
  portable::detail::norm(x, weight, eps, count, out);
}
FPF_EXACT inline void rotate(float* x, const float* cos, const float* sin, std::int64_t half) {
  portable::detail::rotate(x, cos, sin, half);
}
FPF_EXACT inline float sum(const float* x, std::int64_t count) {
  return ordered_sum<false>(x, static_cast<int>(count));
}
FPF_EXACT inline float log_sum(const float* x, std::int64_t count) {
  return log(ordered_sum<false>(x, static_cast<int>(count)));
}
FPF_EXACT inline void softmax_block(float* scores, std::int64_t rows, float* maxima, float* sums) {
  portable::detail::softmax_block(scores, rows, maxima, sums);
}
FPF_EXACT inline void join_softmaxes(const SoftmaxRows& rows) { portable::detail::join_softmaxes(rows); }
FPF_EXACT inline void join(float* sums, const float* block_sums, float old_scale, float new_scale, std::int64_t count) {
  portable::detail::join(sums, block_sums, old_scale, new_scale, count);
}
FPF_EXACT inline void add_all(float* out, const float* x, std::int64_t count) {
  portable::detail::add_all(out, x, count);
}
FPF_EXACT inline void add_scaled(float* out, const float* x, float factor, std::int64_t count) {
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

}  // namespace plain

}  // namespace fpf::portable
