// How far a run is from its re-execution, position by position, in units of what honest runs differ by.
#pragma once

#include <cmath>
#include <fpf/compare/order_statistics.hpp>
#include <fpf/verify/path.hpp>
#include <map>
#include <string>
#include <vector>

namespace fpf::verify {

/// One run's relative L2 distances (to the row's own norm, which varies by orders of magnitude between positions) by
/// signal and step. The prompt's rows stand apart: a decode re-executes them otherwise than its steps.
/// Log-probabilities count by token id.
struct Distances {
  std::map<std::string, std::map<int, double>> signals;
  bool bit_equal = true;
};

/// The size of each signal's noise.
using Scales = std::map<std::string, double>;

/// A position's score: the largest of its signals' distances, each in units of that signal's noise.
struct Score {
  double value = 0;
  std::string signal{};
};

namespace detail {
/// Stands for a distance that is no number: larger than all that are, small enough to be reckoned with.
inline constexpr double unheard_of = 1e9;
}  // namespace detail

/// The rows before `steps`: of runs of other lengths the longer would have the larger maximum.
inline Distances distances_of(const Path& path, int steps) {
  Distances out;
  out.bit_equal = path.bit_equal();
  for (const auto& tap : path.taps) {
    if (tap.tap.signal.view == compare::View::ranked) continue;
    for (const auto& row : tap.rows) {
      if (row.step >= steps) continue;
      const double distance = row[compare::metric_named("relative_l2")];
      const bool number = distance < detail::unheard_of;  // not for NaN
      out.signals[label_of(tap.tap) + (row.step < 0 ? " (prompt)" : "")][row.step] =
          number ? distance : detail::unheard_of;
    }
  }
  return out;
}

/// Median over all rows of all runs, the mean where most rows are equal, 0 where all are.
inline Scales scales_of(const std::vector<const Distances*>& runs) {
  std::map<std::string, std::vector<double>> rows;
  for (const Distances* run : runs)
    for (const auto& [signal, steps] : run->signals)
      for (const auto& [step, distance] : steps) rows[signal].push_back(distance);
  Scales out;
  for (const auto& [signal, values] : rows) {
    const double median = compare::median_of(values);
    out[signal] = median > 0 ? median : compare::mean_of(values);
  }
  return out;
}

inline std::map<int, Score> scores_of(const Distances& run, const Scales& scales) {
  std::map<int, Score> out;
  for (const auto& [signal, steps] : run.signals) {
    const double unit = scales.at(signal);
    for (const auto& [step, distance] : steps) {
      const double value = distance == 0 ? 0 : distance / unit;
      Score& score = out[step];
      if (score.signal.empty() || value > score.value) score = {value, signal};
    }
  }
  return out;
}

inline double largest_score(const Distances& run, const Scales& scales) {
  double out = 0;
  for (const auto& [step, score] : scores_of(run, scales)) out = std::max(out, score.value);
  return out;
}

/// A run with a change in it: at every position of every signal a deviation of `effect` times the noise. Rounding knows
/// nothing of it, so that the two add in quadrature.
inline Distances with_effect(Distances run, const Scales& noise, double effect) {
  for (auto& [signal, steps] : run.signals)
    for (auto& [step, distance] : steps) distance = std::hypot(distance, effect * noise.at(signal));
  return run;
}

}  // namespace fpf::verify
