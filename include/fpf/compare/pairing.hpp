// Two runs' rows of a signal at a layer, paired by position, and the distances of every pair, prompt by prompt.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/distance.hpp>
#include <fpf/compare/metrics.hpp>
#include <fpf/compare/ulp.hpp>
#include <fpf/core/dtype.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <span>
#include <utility>
#include <vector>

namespace fpf::compare {

/// Every metric of the signal for one pair of rows.
inline RowDistance row_distance(const RowPair& rows, Signal signal) {
  RowDistance out;
  out.elements = rows.elements();
  for (std::size_t m = 0; m < metrics.size(); ++m)
    out.values[m] = rows.elements() != 0 && metrics[m].is_of(signal) ? metrics[m].distance(rows) : metrics[m].equal;
  return out;
}

namespace detail {

/// Sums up the rows of a tap, of which there is at least one.
inline void sum_up(TapDistance& tap) {
  std::vector<double> elements, by_row(tap.rows.size());
  for (const RowDistance& row : tap.rows) elements.push_back(static_cast<double>(row.elements));
  tap.mean_elements = mean_of(elements);
  for (std::size_t m = 0; m < metrics.size(); ++m) {
    if (!metrics[m].is_of(tap.tap.signal)) continue;
    std::ranges::transform(tap.rows, by_row.begin(), [m](const RowDistance& row) { return row.values[m]; });
    std::vector<double> ascending = by_row;
    std::ranges::sort(ascending);
    const RowValues values{by_row, ascending, elements, metrics[m].equal};
    for (std::size_t s = 0; s < metrics[m].statistics.size(); ++s)
      tap.statistics[m][s] = metrics[m].statistics[s].statistic.of(values);
  }
}

}  // namespace detail

/// Distances of the rows that both sides have of one prompt, at positions before `before`, not yet summed up. ULPs are
/// counted in `dtype`, of which all values must be.
inline TapDistance rows_of_prompt(const Tap& tap, const evidence::Rows<float>& a, const evidence::Rows<float>& b,
                                  int before, DType dtype, std::size_t prompt) {
  TapDistance out;
  out.tap = tap;
  out.ulp.dtype = name_of(dtype);
  out.first_difference_prompt = prompt;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const int position = a.positions[i];
    if (position != b.positions[j]) {
      ++(position < b.positions[j] ? i : j);
      continue;
    }
    if (position >= before) break;
    const auto x = a.row(i), y = b.row(j);
    RowDistance row;
    bool same_ids = true;
    if (tap.signal.view == View::aligned) {
      const AlignedRow both = align(a.row_ids(i), x, b.row_ids(j), y);
      row = row_distance(RowPair(both.a, both.b), tap.signal);
      same_ids = both.a.size() == x.size() && both.a.size() == y.size();
    } else {
      row = row_distance(RowPair(x, y), tap.signal);
      add_ulps(out.ulp, x, y, dtype);
      if (!a.ids.empty()) same_ids = std::ranges::equal(a.row_ids(i), b.row_ids(j));
    }
    row.prompt = prompt;
    row.step = position;
    row.bits_differ = row[metric_named("bit_equal")] != 1 || !same_ids;
    if (!out.first_difference && row.bits_differ) out.first_difference = position;
    out.rows.push_back(row);
    ++i, ++j;
  }
  return out;
}

/// Distances over all prompts, of which each is by rows_of_prompt(), ascending; at least one.
inline TapDistance over_prompts(std::span<TapDistance> each) {
  TapDistance out = std::move(each.front());
  for (TapDistance& one : each.subspan(1)) {
    if (one.rows.empty()) continue;
    if (one.first_difference && (!out.first_difference || *one.first_difference < *out.first_difference)) {
      out.first_difference = one.first_difference;
      out.first_difference_prompt = one.first_difference_prompt;
    }
    out.ulp.dtype = out.rows.empty() || out.ulp.dtype == one.ulp.dtype ? one.ulp.dtype : "mixed dtypes";
    for (std::size_t k = 0; k < out.ulp.counts.size(); ++k) out.ulp.counts[k] += one.ulp.counts[k];
    out.rows.insert(out.rows.end(), one.rows.begin(), one.rows.end());
  }
  if (!out.rows.empty()) detail::sum_up(out);
  return out;
}

/// The same of one prompt.
inline TapDistance tap_distance(const Tap& tap, const evidence::Rows<float>& a, const evidence::Rows<float>& b,
                                int before, DType dtype) {
  TapDistance rows = rows_of_prompt(tap, a, b, before, dtype, 0);
  return over_prompts({&rows, 1});
}

}  // namespace fpf::compare
