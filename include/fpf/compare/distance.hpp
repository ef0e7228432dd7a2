// Two rows of a signal as arrays, their L2 distance, and log-probabilities aligned by token id.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
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

}  // namespace fpf::compare
