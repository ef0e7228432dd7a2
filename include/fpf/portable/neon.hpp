// The portable execution's loops on aarch64: sixteen lanes are four registers. Integers with and without dotprod.
#pragma once

#include <fpf/portable/integer_lanes.hpp>

#if FPF_HAS_NEON
#include <arm_neon.h>

namespace fpf::portable {

namespace neon {

namespace detail {

/// R rows, block by block.
template <int R>
FPF_EXACT inline void rows_chain(const Chain& c, const float* const* x, float* sums) {
  for (int first = 0; first < c.count; first += c.block_length) {
    const int end = first + c.block_length < c.count ? first + c.block_length : c.count;
    float32x4_t sum[R][4];
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < 4; ++i) sum[r][i] = vdupq_n_f32(0.0f);
    const float* w = c.w + first * c.stride;
    for (int k = first; k < end; ++k, w += c.stride)
      for (int i = 0; i < 4; ++i) {
        const float32x4_t weights = vld1q_f32(w + 4 * i);
        for (int r = 0; r < R; ++r) sum[r][i] = vfmaq_n_f32(sum[r][i], weights, x[r][k]);
      }
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < 4; ++i) {
        float* const to = sums + r * lanes + 4 * i;
        vst1q_f32(to, first == 0 ? sum[r][i] : vaddq_f32(vld1q_f32(to), sum[r][i]));
      }
  }
}

}  // namespace detail

FPF_EXACT inline void chain(const Chain& c, float* sums) {
  const float* x[4];
  for (int row = 0; row < c.rows;) {
    const int rows = c.rows - row < 4 ? 1 : 4;
    for (int r = 0; r < rows; ++r) x[r] = c.x[row + r] + c.first;
    rows == 4 ? detail::rows_chain<4>(c, x, sums + row * lanes) : detail::rows_chain<1>(c, x, sums + row * lanes);
    row += rows;
  }
}

/// Other loops are what compilers make of the plain ones.
inline constexpr Loops loops = [] {
  Loops out = plain::loops;
  out.chain = portable::detail::chain_in_turn<chain>;
  return out;
}();

namespace detail {

/// Four columns of x, four times.
inline int8x16_t four_times(const std::int8_t* x) {
  std::int32_t four;
  std::memcpy(&four, x, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/// Bytes are unsigned, and NEON multiplies bytes of one sign.
struct Signed {
  int8x16_t operator()(const std::uint8_t* tile) const {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(tile), vdupq_n_u8(128)));
  }
};

struct Pairs {
  /// Sums of four lanes, each as two halves that are added at the end.
  struct Sum {
    int32x4_t first = vdupq_n_s32(0), second = vdupq_n_s32(0);
    int32x4_t lanes() const { return vpaddq_s32(first, second); }
  };
  static void add(Sum& sum, int8x16_t weights, int8x16_t x) {
    sum.first = vpadalq_s16(sum.first, vmull_s8(vget_low_s8(weights), vget_low_s8(x)));
    sum.second = vpadalq_s16(sum.second, vmull_high_s8(weights, x));
  }
};

/// Four lanes' sums of a row with a tile of signed bytes, then 128 times what unsigned ones have more.
template <class Add>
FPF_EXACT inline __attribute__((always_inline)) int32x4_t lanes_dot(const Dot& d, int row, const std::uint8_t* tile,
                                                                    std::int32_t missing) {
  const auto* const high = reinterpret_cast<const std::int8_t*>(d.x.row(row)) + d.first;
  typename Add::Sum high_sum, low_sum;
  for (int k = 0; k < d.count; k += 4) {
    const int8x16_t weights = Signed()(tile + k * lanes);
    Add::add(high_sum, weights, four_times(high + k));
    Add::add(low_sum, weights, four_times(high + d.x.columns + k));
  }
  const int32x4_t sum = vaddq_s32(vshlq_n_s32(high_sum.lanes(), 8), low_sum.lanes());
  return vaddq_s32(sum, vdupq_n_s32(128 * missing));
}

template <class Add>
FPF_EXACT inline __attribute__((always_inline)) void row_dot(const Dot& d, int row) {
  const auto* const high = reinterpret_cast<const std::int8_t*>(d.x.row(row)) + d.first;
  std::int32_t sum = 0;
  if (d.low == nullptr)
    for (int k = 0; k < d.count; ++k) sum += 256 * high[k] + high[d.x.columns + k];
  for (int i = 0; i < 4; ++i) {
    int32x4_t out = lanes_dot<Add>(d, row, d.high + 16 * i, sum);
    if (d.low != nullptr) {
      const int32x4_t low = lanes_dot<Add>(d, row, d.low + 16 * i, 0);
      out = vaddq_s32(out, vshrq_n_s32(vaddq_s32(low, vdupq_n_s32(128)), 8));
    }
    vst1q_s32(d.dots + row * d.stride + 4 * i, out);
  }
}

}  // namespace detail

FPF_EXACT inline void dot(const Dot& d) {
  for (int row = 0; row < d.rows; ++row) detail::row_dot<detail::Pairs>(d, row);
}

inline void product(const GroupedProduct& p) { portable::detail::product_of_dots<dot, plain::end_group>(p); }

inline constexpr IntegerLoops integer_loops = [] {
  IntegerLoops out = plain::integer_loops;
  out.tiles = false;
  out.dot = dot;
  out.product = product;
  return out;
}();

}  // namespace neon

namespace neon_dotprod {

namespace detail {

struct Quads {
  struct Sum {
    int32x4_t all = vdupq_n_s32(0);
    int32x4_t lanes() const { return all; }
  };
  FPF_DOTPROD static void add(Sum& sum, int8x16_t weights, int8x16_t x) { sum.all = vdotq_s32(sum.all, weights, x); }
};

}  // namespace detail

FPF_DOTPROD inline void dot(const Dot& d) {
  for (int row = 0; row < d.rows; ++row) neon::detail::row_dot<detail::Quads>(d, row);
}

inline void product(const GroupedProduct& p) { portable::detail::product_of_dots<dot, plain::end_group>(p); }

inline constexpr IntegerLoops integer_loops = [] {
  IntegerLoops out = neon::integer_loops;
  out.dot = dot;
  out.product = product;
  return out;
}();

}  // namespace neon_dotprod

}  // namespace fpf::portable
#endif
