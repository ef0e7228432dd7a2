// The arithmetic of the portable execution, for CPU and GPU alike: IEEE 754 binary32 operations and what is made of
// them. No includes; execution/PORTABLE.md is the definition that this carries out.
//
// Every operation is rounded to nearest even, subnormals are kept, and none is joined with another unless fma() says
// so: host code that includes this is compiled without contraction (portable/instruction_set.hpp), device code with
// intrinsics that NVRTC leaves as they are.
#pragma once

#ifdef __CUDACC__
#define FPF_HD __device__ __forceinline__
#else
#define FPF_HD inline __attribute__((always_inline))
#endif

namespace fpf::portable {

/// The definition's version: a change to any result is another one.
inline constexpr int version = 2;

inline constexpr int block = 32;           // consecutive products of a reduction in one chain of fused multiply-adds
inline constexpr int most_segments = 8;    // of a reduction: consecutive blocks, added up in order
inline constexpr int position_block = 64;  // positions that attention takes at once

// ---- the operations

#ifdef __CUDACC__
FPF_HD float add(float a, float b) { return __fadd_rn(a, b); }
FPF_HD float sub(float a, float b) { return __fsub_rn(a, b); }
FPF_HD float mul(float a, float b) { return __fmul_rn(a, b); }
FPF_HD float div(float a, float b) { return __fdiv_rn(a, b); }
FPF_HD float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
FPF_HD float sqrt(float a) { return __fsqrt_rn(a); }
FPF_HD unsigned bits_of(float a) { return __float_as_uint(a); }
FPF_HD float float_of(unsigned a) { return __uint_as_float(a); }
#else
FPF_HD float add(float a, float b) { return a + b; }
FPF_HD float sub(float a, float b) { return a - b; }
FPF_HD float mul(float a, float b) { return a * b; }
FPF_HD float div(float a, float b) { return a / b; }
FPF_HD float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
FPF_HD float sqrt(float a) { return __builtin_sqrtf(a); }
FPF_HD unsigned bits_of(float a) { return __builtin_bit_cast(unsigned, a); }
FPF_HD float float_of(unsigned a) { return __builtin_bit_cast(float, a); }
#endif

/// The larger; the first where they are equal or one is no number. (+0 and -0 are equal: a maximum is only subtracted.)
FPF_HD float larger(float a, float b) { return b > a ? b : a; }

// ---- functions

/// 2^n for -126 <= n <= 127.
FPF_HD float power_of_two(int n) { return float_of(static_cast<unsigned>(n + 127) << 23); }

/// e^x: x = n ln 2 + r, a polynomial of r (S. Moshier's Cephes, expf), times 2^n in two steps, of which only the second
/// rounds. At most 1.02 ulp from e^x where that is normal; infinite from 90 on, 0 below -110, e^0 = 1.
FPF_HD float exp(float x) {
  x = x < -110.0f ? -110.0f : x;
  x = x > 90.0f ? 90.0f : x;
  const float shifted = add(mul(x, 1.44269504088896341f), 12582912.0f);  // 3 * 2^22: the units are the last bits
  const int n = static_cast<int>(bits_of(shifted) - 0x4b400000u);
  const float whole = sub(shifted, 12582912.0f);
  float r = fma(whole, -0.693359375f, x);
  r = fma(whole, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = add(fma(p, mul(r, r), r), 1.0f);
  const int half = n >> 1;
  return mul(mul(p, power_of_two(half)), power_of_two(n - half));
}

/// ln x of a normal x > 0: x = 2^e m with m in [2/3, 4/3), 2 atanh((m - 1) / (m + 1)) as a series. At most 1.1 ulp
/// from ln x.
FPF_HD float log(float x) {
  const unsigned shifted = bits_of(x) - 0x3f2aaaabu;  // less 2/3: the exponent's bits count from there
  const int e = static_cast<int>(shifted) >> 23;
  const float m = float_of((shifted & 0x007fffffu) + 0x3f2aaaabu), f = sub(m, 1.0f);
  const float s = div(f, add(2.0f, f)), z = mul(s, s);
  float p = 0.2222222222f;
  p = fma(p, z, 0.2857142857f);
  p = fma(p, z, 0.4f);
  p = fma(p, z, 0.6666666667f);
  // ln m = 2 s + s z p = f - s (f - z p), where 2 s = f - s f
  const float whole = static_cast<float>(e), rest = sub(f, mul(s, sub(f, mul(z, p))));
  return fma(whole, 0.693359375f, fma(whole, -2.12194440e-4f, rest));
}

/// x / (1 + e^-x). At most 2.5 ulp from it where that is normal.
FPF_HD float silu(float x) { return div(x, add(1.0f, exp(-x))); }

/// 1 / sqrt(mean + eps), by division and root: what an RMSNorm multiplies by.
FPF_HD float inverse_root(float sum_of_squares, float count, float eps) {
  return div(1.0f, sqrt(add(div(sum_of_squares, count), eps)));
}

/// One value of an RMSNorm.
FPF_HD float normalised(float x, float inverse, float weight) { return mul(mul(x, inverse), weight); }

/// A pair of RoPE: (a, b) turned by an angle.
FPF_HD float turned_low(float a, float b, float cos, float sin) { return fma(a, cos, -mul(b, sin)); }
FPF_HD float turned_high(float a, float b, float cos, float sin) { return fma(b, cos, mul(a, sin)); }

/// An int4 weight; exact where scales are of 16 bits. Codes and zeros are 0 to 15.
FPF_HD float int4_weight(float code, float zero, float scale) { return mul(sub(code, zero), scale); }

// ---- reductions

/// How many blocks a reduction over `count` products has, and how many of them make a segment.
FPF_HD constexpr int blocks_of(int count) { return (count + block - 1) / block; }
FPF_HD constexpr int segment_blocks(int blocks) { return (blocks + most_segments - 1) / most_segments; }

/// Adds up `count` (1 to 8) segments as a binary tree: neighbours in pairs, the last one alone where they are odd, and
/// again until one is left.
FPF_HD float add_segments(float (&s)[most_segments], int count) {
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int step = 1; step < most_segments; step *= 2)
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int i = 0; i + step < most_segments; i += 2 * step)
      if (i + step < count) s[i] = add(s[i], s[i + step]);
  return s[0];
}

/// The sum of x, or of its squares, in that order by one thread.
template <bool Squares>
FPF_HD float ordered_sum(const float* x, int count) {
  const int blocks = blocks_of(count), each = segment_blocks(blocks);
  float segments[most_segments] = {};
  int filled = 0;
  for (int first = 0; first < blocks; first += each, ++filled) {
    for (int b = first; b < first + each && b < blocks; ++b) {
      float total = 0.0f;
      for (int k = b * block; k < (b + 1) * block && k < count; ++k)
        total = Squares ? fma(x[k], x[k], total) : add(total, x[k]);
      segments[filled] = b == first ? total : add(segments[filled], total);
    }
  }
  return add_segments(segments, filled);
}

// ---- integers (models of 16 bits)

inline constexpr int slice_block = 128;           // columns of a row of activations whose integers share a unit
inline constexpr int integer_position_block = 128;  // positions that attention takes at once
inline constexpr int sliced_unit = 256;             // what a sliced product counts in

/// What `count` values' integers are worth, of the bits of the largest magnitude among them: a power of two as its
/// exponent, with which the integers stay within +-32639 = 127 * 256 + 127.
FPF_HD unsigned slice_exponent(unsigned most_bits) {
  const unsigned e = (most_bits + 0x10100u) >> 23;
  return e < 15u ? 15u : e;
}
/// From here on a block has no number in it: infinities, NaNs, and the few values from 1.99 * 2^127 on.
inline constexpr unsigned no_number = 255;
/// A query or a key of 2^48 and more is none, either: scores stay finite.
inline constexpr unsigned no_score = 127 + 48;

FPF_HD float not_a_number() { return float_of(0x7fc00000u); }
/// What one unit of such a block's integers is worth, 2^(e - 141).
FPF_HD float slice_unit(unsigned e, unsigned limit = no_number) {
  return e < limit ? float_of((e - 14u) << 23) : not_a_number();
}
/// What values are multiplied by to be integers, 2^(141 - e).
FPF_HD float slice_scale(unsigned e) { return float_of((268u - e) << 23); }

/// a * b to the nearest integer, ties to even, from -2^21 to 2^21; the product is not rounded before.
FPF_HD int nearest(float a, float b) { return static_cast<int>(bits_of(fma(a, b, 12582912.0f)) - 0x4b400000u); }

/// q = 256 high + low, both in -128..127: how units that multiply bytes have it.
FPF_HD int high_slice(int q) { return (q + 128) >> 8; }
FPF_HD int low_slice(int q) { return q - 256 * high_slice(q); }
/// A sum of products of two integers of 16 bits, in units of 256 and rounded, of the sums with the second's slices.
FPF_HD int sliced_sum(int of_high, int of_low) { return of_high + ((of_low + 128) >> 8); }

/// One group's exact integer onto a result.
FPF_HD float with_group(float acc, int v, float unit, float scale) {
  return fma(mul(static_cast<float>(v), unit), scale, acc);
}

/// 2^(64 (y - 1)) for 0 <= y <= 1: at most 2.9e-6 from it, relatively.
FPF_HD float exp2_of_unit(float y) {
  const float t = fma(y, 64.0f, 12582912.0f - 64.0f), f = fma(y, 64.0f, -sub(t, 12582912.0f - 64.0f));
  float p = fma(0.009582852944731712f, f, 0.055906426161527634f);
  p = fma(p, f, 0.24024099111557007f);
  p = fma(p, f, 0.6931241750717163f);
  p = fma(p, f, 1.0f);
  return float_of(bits_of(p) + (bits_of(t) << 23));
}
/// 2^x for x <= 0; below -120 as at -120.
FPF_HD float exp2_below(float x) {
  x = x > -120.0f ? x : -120.0f;
  const float y = add(x, 12582912.0f), f = sub(x, sub(y, 12582912.0f));
  float p = fma(0.001326472731307149f, f, 0.009671512991189957f);
  p = fma(p, f, 0.05550733581185341f);
  p = fma(p, f, 0.24022242426872253f);
  p = fma(p, f, 0.6931470036506653f);
  p = fma(p, f, 1.0f);
  return float_of(bits_of(p) + (bits_of(y) << 23));
}
/// The inverse of a power of two from 2^-126 to 2^126.
FPF_HD float inverse_power(float power) { return float_of((254u << 23) - bits_of(power)); }

/// What attention weights of 1 are as integers, beside the values of the largest unit; and what a weighed sum is worth
/// beside that unit, of slices whose low * low was left out.
inline constexpr float attention_weight = 32639.0f, attention_value = 256.0f / 32639.0f;

/// What a map's value of 1 (NF4's are within +-1) is as an integer: of all that fit, that with which NF4's sixteen
/// values are nearest, rms 4.4e-6, and their errors' mean is 0. And what a sum with them is worth.
inline constexpr float map_weight = 30523.0f, map_value = 256.0f / 30523.0f;

/// x held within 0..1.
FPF_HD float unit_interval(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

// ---- attention

/// What one query head knows of the blocks of positions before, the largest score and the sum of exponentials relative
/// to it, joined with a block's. What was summed before is to be multiplied by `old_scale`, what is new by `new_scale`:
/// see joined(). It begins with -infinity and 0.
FPF_HD void join_softmax(float& maximum, float& sum, float block_max, float block_sum, float& old_scale,
                         float& new_scale) {
  const float next = larger(maximum, block_max);
  old_scale = exp(sub(maximum, next));
  new_scale = exp(sub(block_max, next));
  sum = fma(block_sum, new_scale, mul(sum, old_scale));
  maximum = next;
}

FPF_HD float joined(float before, float block_value, float old_scale, float new_scale) {
  return fma(block_value, new_scale, mul(before, old_scale));
}

}  // namespace fpf::portable
