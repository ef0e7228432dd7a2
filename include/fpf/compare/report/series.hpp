// The comparisons of an experiment as the few series that a figure can show: noise, and each change of value.
#pragma once

#include <algorithm>
#include <array>
#include <fpf/compare/report/label.hpp>
#include <fpf/compare/report/text.hpp>
#include <fpf/compare/verdict.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace fpf::compare::report {

/// Comparisons that belong together, and how they are drawn.
struct Series {
  std::string label;
  bool noise = false;
  Scope scope{};
  std::string value;  // of a change
  std::vector<const Comparison*> comparisons;
  std::string between;    // "A and B" where there is one comparison
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

/// Widest labels of values, in units of a canvas: two of them in a figure's key, and in a page's text.
inline constexpr double in_figures = 130, in_text = 520;

/// "1 → 2": from the baseline's value to a changed one, told apart from every other change.
inline std::string change_text(const Analysis& analysis, const std::string& value, double width) {
  auto values = tested_values(analysis);
  const auto at = std::ranges::find(values, value) - values.begin();
  values.push_back(*analysis.baseline_value);
  const auto labels = labels_of(values, width);
  return labels.back() + " → " + labels[static_cast<std::size_t>(at)];
}

/// "A and B", "repetitions 0 and 2 of A".
inline std::string pair_text(const Analysis& analysis, const Comparison& comparison) {
  const std::string &a = analysis.configurations[comparison.a].id, &b = analysis.configurations[comparison.b].id;
  if (comparison.kind != PairKind::repetition) return a + " and " + b;
  return fmt::format("repetitions {} and {} of {}", comparison.repetition_a, comparison.repetition_b, a);
}

namespace detail {

/// Where values do not vary, noise is told apart by the hardware it is between.
inline std::vector<Series> noise_by_hardware(const Analysis& analysis) {
  const auto labels = labels_of(analysis.hardware, in_figures);
  const auto label_of = [&](const std::string& hardware) {
    return labels[static_cast<std::size_t>(std::ranges::find(analysis.hardware, hardware) - analysis.hardware.begin())];
  };
  std::vector<Series> out;
  std::map<std::tuple<PairKind, std::string, std::string>, std::size_t> known;
  for (const Comparison& comparison : analysis.comparisons) {
    const auto& [a, b] =
        std::minmax(analysis.configurations[comparison.a].hardware, analysis.configurations[comparison.b].hardware);
    const auto [found, is_new] = known.emplace(std::tuple(comparison.kind, a, b), out.size());
    if (is_new) {
      Series series;
      series.label = comparison.kind == PairKind::repetition            ? "repetitions on " + label_of(a)
                     : comparison.kind == PairKind::same_hardware_noise ? "two machines, " + label_of(a)
                                                                        : label_of(a) + " – " + label_of(b);
      series.style = out.size();
      out.push_back(std::move(series));
    }
    out[found->second].comparisons.push_back(&comparison);
  }
  return out;
}

inline void name_pairs(const Analysis& analysis, std::vector<Series>& all) {
  for (Series& series : all)
    if (series.comparisons.size() == 1) series.between = pair_text(analysis, *series.comparisons.front());
}

}  // namespace detail

/// Noise first, then every change from the baseline, within and across hardware types; those with a
/// comparison.
inline std::vector<Series> series_of(const Analysis& analysis) {
  std::vector<Series> out;
  if (!analysis.baseline_value) {
    out = detail::noise_by_hardware(analysis);
    detail::name_pairs(analysis, out);
    return out;
  }
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
    add(series_named(label, true, scope, "", 0), [&](const Comparison& c) { return is_noise_of(c, scope); });
  }
  std::size_t style = 0;
  for (const std::string& value : tested_values(analysis)) {
    for (const Scope scope : {within, across}) {
      std::string label = change_text(analysis, value, in_figures);
      if (scope == across) label += ", across hardware";
      add(series_named(std::move(label), false, scope, value, style),
          [&](const Comparison& c) { return is_signal_of(analysis, c, scope, value); });
    }
    ++style;
  }
  detail::name_pairs(analysis, out);
  return out;
}

/// A point of a curve: mean, smallest and largest over the comparisons (by step: and their prompts) of a series that
/// reach it.
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

/// `metric`: its place in the table of metrics.
inline Curve curve_by_step(const Series& series, const Tap& tap, std::size_t metric) {
  Curve curve;
  for (const Comparison* comparison : series.comparisons)
    if (const TapDistance* found = comparison->find(tap))
      for (const RowDistance& row : found->rows) add_point(curve, row.step, row[metric]);
  return curve;
}

/// A statistic over the rows of each comparison, layer by layer.
inline Curve curve_by_layer(const Series& series, Signal signal, const StatisticPlace& statistic) {
  Curve curve;
  for (const Comparison* comparison : series.comparisons)
    for (const TapDistance& found : comparison->taps)
      if (found.tap.signal == signal && found.tap.layer >= 0) add_point(curve, found.tap.layer, found[statistic]);
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
