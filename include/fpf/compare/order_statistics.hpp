// Means, variances and quantiles. Tests check them against numpy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

namespace fpf::compare {

inline double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Sum of squared deviations from the mean, divided by n - ddof. 0 where that is no positive number.
inline double variance_of(std::span<const double> values, std::size_t ddof = 0) {
  if (values.size() <= ddof) return 0;
  const double mean = mean_of(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return sum / static_cast<double>(values.size() - ddof);
}

/// Quantile q in [0, 1] of ascending values, linear between order statistics (type 7 of Hyndman & Fan 1996,
/// numpy's default).
inline double quantile_of_sorted(std::span<const double> ascending, double q) {
  const double rank = q * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, ascending.size() - 1);
  return ascending[below] + (rank - static_cast<double>(below)) * (ascending[above] - ascending[below]);
}

inline double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return quantile_of_sorted(values, 0.5);
}

}  // namespace fpf::compare
