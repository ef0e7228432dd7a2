// The comparisons of an experiment as the few series that a figure can show: noise, and each change of value.
#pragma once

#include <algorithm>
#include <array>
#include <fpf/compare/report_text.hpp>
#include <fpf/compare/verdict.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare::report {

/// Comparisons that belong together, and how they are drawn.
struct Series {
  std::string label;
  bool noise = false;
  Scope scope{};
  std::string value;  // of a change
  std::vector<const Comparison*> comparisons;
  std::size_t style = 0;  // of the colours and points below
  bool dashed = false;    // across hardware types
};

/// Text, axes and noise; then the changes. Okabe & Ito's colours without the two that vanish on white or
/// black (Color Universal Design, 2008). All of them can be read on either background.
inline constexpr std::string_view ink = "#747678", grid_line = "#9aa0a6", noise_colour = "#878d94";
inline constexpr std::array<std::string_view, 6> change_colours{"#0072b2", "#d55e00", "#009e73",
                                                                "#cc79a7", "#e69f00", "#56b4e9"};
inline constexpr std::size_t most_series = 12;  // in one figure

inline std::string_view colour_of(const Series& series) {
  return series.noise ? noise_colour : change_colours[series.style % change_colours.size()];
}

/// gnuplot's point type: a shape for each change, open where it is dashed.
inline int point_of(const Series& series) {
  constexpr int shapes[] = {5, 9, 13, 11, 15, 7};
  if (series.noise) return series.dashed ? 6 : 7;
  const int filled = shapes[series.style % change_colours.size()];
  return series.dashed ? filled - 1 : filled;
}

/// "1 → 2".
inline std::string change_text(std::string_view from, std::string_view to) {
  return shortened(from, 20) + " → " + shortened(to, 20);
}

namespace detail {

/// Where values do not vary, noise is told apart by the hardware it is between.
inline std::vector<Series> noise_by_hardware(const Analysis& analysis) {
  std::vector<Series> out;
  for (const Comparison& comparison : analysis.comparisons) {
    const std::string &a = analysis.configurations[comparison.a].hardware,
                      &b = analysis.configurations[comparison.b].hardware;
    std::string label = shortened(a, 20);
    if (comparison.kind == PairKind::repetition)
      label = "repetitions on " + label;
    else if (comparison.kind == PairKind::same_hardware_noise)
      label = "two machines, " + label;
    else
      label += " – " + shortened(b, 20);
    const auto known = std::ranges::find(out, label, &Series::label);
    if (known != out.end()) {
      known->comparisons.push_back(&comparison);
      continue;
    }
    Series series;
    series.label = label;
    series.comparisons = {&comparison};
    series.style = out.size();
    out.push_back(std::move(series));
  }
  return out;
}

}  // namespace detail

/// Noise first, then every change from the baseline, within and across hardware types; those with a
/// comparison.
inline std::vector<Series> series_of(const Analysis& analysis) {
  if (!analysis.baseline_value) return detail::noise_by_hardware(analysis);
  std::vector<Series> out;
  const auto add = [&](Series series, auto belongs) {
    for (const Comparison& comparison : analysis.comparisons)
      if (belongs(comparison)) series.comparisons.push_back(&comparison);
    if (!series.comparisons.empty()) out.push_back(std::move(series));
  };
  const auto series_named = [](std::string label, bool noise, Scope scope, std::string value, std::size_t style) {
    Series series;
    series.label = std::move(label);
    series.noise = noise;
    series.scope = scope;
    series.value = std::move(value);
    series.style = style;
    series.dashed = scope == Scope::across_hardware;
    return series;
  };
  constexpr Scope within = Scope::within_hardware, across = Scope::across_hardware;
  for (const Scope scope : {within, across}) {
    const char* label = scope == within ? "noise within a hardware type" : "noise between hardware types";
    add(series_named(label, true, scope, "", 0),
        [&](const Comparison& c) { return compare::detail::is_noise_of(c, scope); });
  }
  std::size_t style = 0;
  for (const std::string& value : compare::detail::tested_values(analysis)) {
    for (const Scope scope : {within, across}) {
      std::string label = change_text(*analysis.baseline_value, value);
      if (scope == across) label += ", across hardware";
      add(series_named(std::move(label), false, scope, value, style),
          [&](const Comparison& c) { return compare::detail::is_signal_of(analysis, c, scope, value); });
    }
    ++style;
  }
  return out;
}

/// A point of a curve: mean, smallest and largest over the comparisons of a series that reach it.
struct CurvePoint {
  double mean = 0, low = 0, high = 0;
  std::size_t count = 0;
};
using Curve = std::map<int, CurvePoint>;

inline void add_point(Curve& curve, int x, double value) {
  CurvePoint& point = curve[x];
  point.low = point.count == 0 ? value : std::min(point.low, value);
  point.high = point.count == 0 ? value : std::max(point.high, value);
  ++point.count;
  point.mean += (value - point.mean) / static_cast<double>(point.count);
}

/// What a row contributes: its L2, or its divergence.
using RowValue = double RowDistance::*;

inline Curve curve_by_step(const Series& series, const Tap& tap, RowValue value) {
  Curve curve;
  for (const Comparison* comparison : series.comparisons)
    if (const TapDistance* found = comparison->find(tap))
      for (const RowDistance& row : found->rows) add_point(curve, row.step, row.*value);
  return curve;
}

/// Mean over the rows of each comparison, layer by layer.
inline Curve curve_by_layer(const Series& series, Signal signal, Summary TapDistance::*summary) {
  Curve curve;
  for (const Comparison* comparison : series.comparisons)
    for (const TapDistance& found : comparison->taps)
      if (found.tap.signal == signal && found.tap.layer >= 0) add_point(curve, found.tap.layer, (found.*summary).mean);
  return curve;
}

inline UlpHistogram ulps_of(const Series& series, const Tap& tap) {
  UlpHistogram out;
  for (const Comparison* comparison : series.comparisons)
    if (const TapDistance* found = comparison->find(tap)) {
      out.dtype = out.dtype.empty() || out.dtype == found->ulp.dtype ? found->ulp.dtype : "mixed dtypes";
      for (std::size_t k = 0; k < out.counts.size(); ++k) out.counts[k] += found->ulp.counts[k];
    }
  return out;
}

/// The last layer of every signal that was compared: where figures look.
inline std::vector<Tap> shown_taps(const Analysis& analysis) {
  std::vector<Tap> out;
  for (const Tap& tap : analysis.taps) {
    if (!out.empty() && out.back().signal == tap.signal)
      out.back() = tap;
    else
      out.push_back(tap);
  }
  return out;
}

}  // namespace fpf::compare::report
