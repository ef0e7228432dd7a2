// Distances between two rows of a signal.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fpf/compare/analysis.hpp>
#include <fpf/core/dtype.hpp>
#include <fpf/core/half.hpp>
#include <span>
#include <utility>
#include <vector>

namespace fpf::compare {

template <class T>
using RowMap = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;

template <class T>
RowMap<T> map_of(std::span<const T> row) {
  return {row.data(), static_cast<Eigen::Index>(row.size())};
}

/// ||a - b||, the differences and their squares in double, as numpy.linalg.norm of float64 arrays.
/// Rows of unequal length are compared as far as both go.
template <class T>
double l2_distance(std::span<const T> a, std::span<const T> b) {
  const std::size_t common = std::min(a.size(), b.size());
  const auto x = map_of(a.first(common)).template cast<double>(), y = map_of(b.first(common)).template cast<double>();
  return std::sqrt((x - y).square().sum());
}

/// Whether every value is a value of `dtype`, so that units in its last place have a meaning.
inline bool representable(std::span<const float> row, DType dtype) {
  if (dtype == DType::bfloat16)
    return std::ranges::all_of(row, [](float v) { return (std::bit_cast<std::uint32_t>(v) & 0xffffu) == 0; });
  if (dtype == DType::float16)
    return std::ranges::all_of(row, [](float v) { return float32_from_float16(float16_from_float32(v)) == v; });
  return dtype == DType::float32;
}

/// A value's place among all values of `dtype` in ascending order: neighbours differ by 1, both zeros are 0.
/// The value must be one of the dtype's (float16, bfloat16, or float32 for all others).
inline std::int64_t ordinal(float value, DType dtype) {
  const auto place = [](std::uint32_t bits, std::uint32_t sign) {
    return (bits & sign) == 0 ? std::int64_t{bits} : -std::int64_t{bits & (sign - 1)};
  };
  if (dtype == DType::bfloat16) return place(std::bit_cast<std::uint32_t>(value) >> 16, 0x8000u);
  if (dtype == DType::float16) return place(float16_from_float32(value), 0x8000u);
  return place(std::bit_cast<std::uint32_t>(value), 0x80000000u);
}

/// Number of values of `dtype` that one steps over from a to b (Goldberg 1991's ulps, counted on the number
/// line).
inline std::uint64_t ulp_distance(float a, float b, DType dtype) {
  return static_cast<std::uint64_t>(std::abs(ordinal(a, dtype) - ordinal(b, dtype)));
}

/// The histogram's bucket for a distance (see UlpHistogram).
inline std::size_t ulp_bucket(std::uint64_t distance) {
  return distance < 2 ? static_cast<std::size_t>(distance) : static_cast<std::size_t>(std::bit_width(distance - 1)) + 1;
}

/// Adds the distances of all elements of two rows, which must be representable in `dtype`.
inline void add_ulps(UlpHistogram& histogram, std::span<const float> a, std::span<const float> b, DType dtype) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    ++histogram.counts[ulp_bucket(ulp_distance(a[i], b[i], dtype))];
}

/// Fraction of elements with equal bits (so +0 and -0 are unequal; both widened from the same dtype).
inline double bit_equal_fraction(std::span<const float> a, std::span<const float> b) {
  std::size_t equal = 0;
  const std::size_t common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i)
    equal += std::bit_cast<std::uint32_t>(a[i]) == std::bit_cast<std::uint32_t>(b[i]);
  return common == 0 ? 1 : static_cast<double>(equal) / static_cast<double>(common);
}

/// All distances of two rows but the step: L2, L2 relative to ||a||, largest absolute difference, cosine, bit
/// equality. Rows of unequal length are compared as far as both go.
inline RowDistance row_distance(std::span<const float> a, std::span<const float> b) {
  const std::size_t common = std::min(a.size(), b.size());
  const auto x = map_of(a.first(common)).cast<double>(), y = map_of(b.first(common)).cast<double>();
  RowDistance out;
  out.elements = common;
  if (common == 0) return out;
  const double xx = x.square().sum(), yy = y.square().sum();
  out.l2 = std::sqrt((x - y).square().sum());
  out.max_abs = (x - y).abs().maxCoeff();
  out.relative_l2 = out.l2 == 0 ? 0 : out.l2 / std::sqrt(xx != 0 ? xx : yy);
  if (xx != 0 && yy != 0)
    out.cosine = (x * y).sum() / std::sqrt(xx * yy);
  else
    out.cosine = xx == yy ? 1 : 0;
  out.bit_equal = bit_equal_fraction(a, b);
  return out;
}

/// Log-probabilities of the ids that both rows list, in ascending order of the ids.
struct AlignedRow {
  std::vector<float> a, b;
};

inline AlignedRow align(std::span<const std::int32_t> ids_a, std::span<const float> a,
                        std::span<const std::int32_t> ids_b, std::span<const float> b) {
  const auto sorted = [](std::span<const std::int32_t> ids, std::span<const float> values) {
    std::vector<std::pair<std::int32_t, float>> pairs;
    for (std::size_t i = 0; i < ids.size(); ++i) pairs.emplace_back(ids[i], values[i]);
    std::ranges::sort(pairs);
    return pairs;
  };
  AlignedRow out;
  const auto left = sorted(ids_a, a), right = sorted(ids_b, b);
  for (auto x = left.begin(), y = right.begin(); x != left.end() && y != right.end();) {
    if (x->first < y->first) {
      ++x;
    } else if (y->first < x->first) {
      ++y;
    } else {
      out.a.push_back((x++)->second);
      out.b.push_back((y++)->second);
    }
  }
  return out;
}

/// Kullback-Leibler divergence sum p ln(p / q) in nats, of log-probabilities over the same ids, both
/// renormalised over them (Kullback & Leibler 1951; scipy.stats.entropy(p, q) on the same probabilities). 0
/// for no ids.
inline double kl_divergence(std::span<const float> a, std::span<const float> b) {
  if (a.empty()) return 0;
  const Eigen::ArrayXd x = map_of(a).cast<double>(), y = map_of(b).cast<double>();
  const auto log_sum = [](const Eigen::ArrayXd& v) { return v.maxCoeff() + std::log((v - v.maxCoeff()).exp().sum()); };
  const Eigen::ArrayXd log_p = x - log_sum(x), log_q = y - log_sum(y);
  return std::max(0.0, (log_p.exp() * (log_p - log_q)).sum());
}

}  // namespace fpf::compare
