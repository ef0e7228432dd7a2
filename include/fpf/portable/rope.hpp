// RoPE's angles as sines and cosines, in binary64 operations of defined order: the one table that all devices read.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <fpf/portable/instruction_set.hpp>
#include <vector>

namespace fpf::portable {

namespace detail {

/// ln x of x > 0: x = 2^e m, 2 atanh((m - 1) / (m + 1)) as a series.
FPF_EXACT inline double wide_log(double x) {
  int e = 0;
  double m = std::frexp(x, &e);  // [0.5, 1)
  if (m < 0.70710678118654752) {
    m = 2 * m;
    --e;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double sum = 0;
  for (int n = 25; n >= 1; n -= 2) sum = std::fma(sum, z, 1.0 / n);
  return std::fma(static_cast<double>(e), 0.69314718055994531, 2 * s * sum);
}

/// e^x: x = n ln 2 + r, Taylor's series in r.
FPF_EXACT inline double wide_exp(double x) {
  const double n = std::nearbyint(x * 1.4426950408889634);
  double r = std::fma(n, -0.69314718055994529, x);
  r = std::fma(n, -2.3190468138462996e-17, r);
  double sum = 1;
  for (int k = 18; k >= 1; --k) sum = std::fma(sum, r / k, 1.0);
  return std::ldexp(sum, static_cast<int>(n));
}

/// cos x and sin x of 0 <= x < 2^24: x = n pi/2 + r, Taylor's series in r.
FPF_EXACT inline std::array<double, 2> wide_cos_sin(double x) {
  const double n = std::nearbyint(x * 0.63661977236758134);
  double r = std::fma(n, -1.5707963267948966, x);
  r = std::fma(n, -6.123233995736766e-17, r);
  const double z = r * r;
  double c = 0, s = 0;
  for (int k = 11; k >= 1; --k) {
    c = std::fma(-z / ((2.0 * k - 1) * (2.0 * k)), 1 + c, 0.0);
    s = std::fma(-z / ((2.0 * k) * (2.0 * k + 1)), 1 + s, 0.0);
  }
  c = 1 + c;
  s = std::fma(r, s, r);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

}  // namespace detail

/// 1 / theta^(2i / head_dim), [head_dim / 2].
FPF_EXACT inline std::vector<double> inverse_frequencies(std::int64_t head_dim, double theta) {
  std::vector<double> out;
  const double log_theta = detail::wide_log(theta);
  for (std::int64_t i = 0; i < head_dim / 2; ++i)
    out.push_back(detail::wide_exp(-(static_cast<double>(2 * i) / static_cast<double>(head_dim)) * log_theta));
  return out;
}

/// cos and sin of position * inverse frequency for `count` positions from `begin` on, [count, head_dim / 2] each,
/// rounded once to binary32 from values that are within 1e-10 of the angle's at 2^17 positions.
struct RopeTable {
  std::vector<float> cos, sin;

  FPF_EXACT RopeTable(std::int64_t begin, std::int64_t count, const std::vector<double>& inverse_frequencies) {
    const std::size_t half = inverse_frequencies.size();
    for (std::vector<float>* table : {&cos, &sin}) table->resize(static_cast<std::size_t>(count) * half);
    for (std::size_t i = 0; i < half; ++i)
      for (std::int64_t p = 0; p < count; ++p) {
        const auto [c, s] = detail::wide_cos_sin(static_cast<double>(begin + p) * inverse_frequencies[i]);
        cos[static_cast<std::size_t>(p) * half + i] = static_cast<float>(c);
        sin[static_cast<std::size_t>(p) * half + i] = static_cast<float>(s);
      }
  }
};

}  // namespace fpf::portable
