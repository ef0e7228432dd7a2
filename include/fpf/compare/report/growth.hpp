// Where a difference enters and how it grows: figures by layer, by step and by units in the last place.
#pragma once

#include <algorithm>
#include <fpf/compare/report/lines.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace fpf::compare::report {

namespace detail {

/// Adds the lines of all series that have points.
template <class CurveOf>
void add_lines(LinePlot& plot, const std::vector<Series>& all, CurveOf curve_of) {
  for (const Series& series : all)
    if (Curve curve = curve_of(series); !curve.empty()) plot.lines.push_back({&series, std::move(curve)});
}

inline bool all_zero(const LinePlot& plot) {
  return std::ranges::all_of(plot.lines, [](const Line& line) {
    return std::ranges::all_of(line.curve, [](const auto& entry) { return entry.second.high == 0; });
  });
}

inline double mean_of(const Curve& curve) {
  double sum = 0;
  for (const auto& [x, point] : curve) sum += point.mean;
  return curve.empty() ? 0 : sum / static_cast<double>(curve.size());
}

/// The noise that a change is judged against.
inline const Line* noise_for(const LinePlot& plot, const Series& change) {
  if (change.noise) return nullptr;
  for (const Line& line : plot.lines)
    if (line.series->noise && line.series->scope == change.scope) return &line;
  return nullptr;
}

/// The line to speak of: a change with noise to hold it against, else a change, else noise; of those the one
/// with the largest value.
inline const Line& leading(const LinePlot& plot, double (*value)(const Curve&)) {
  return *std::ranges::max_element(plot.lines, {}, [&](const Line& line) {
    return std::tuple(!line.series->noise, noise_for(plot, *line.series) != nullptr, value(line.curve));
  });
}

inline std::pair<double, double> range_of(const Curve& curve) {
  double low = curve.begin()->second.low, high = 0;
  for (const auto& [x, point] : curve) {
    low = std::min(low, point.low);
    high = std::max(high, point.high);
  }
  return {low, high};
}

inline std::string range_text(const Curve& curve) {
  const auto [low, high] = range_of(curve);
  if (low == high) return high == 0 ? "0 throughout" : number_text(high) + " throughout";
  return fmt::format("{} to {}", number_text(low), number_text(high));
}

/// Says why there is nothing to draw; nothing when there is.
inline std::optional<std::string> why_no_lines(const LinePlot& plot) {
  if (plot.lines.empty()) return "No two runs of this experiment can be compared here.";
  if (all_zero(plot)) return "Every distance is 0: nothing differs.";
  return {};
}

inline std::string undrawn_text(const LinePlot& plot) {
  if (plot.lines.size() <= most_series) return "";
  return fmt::format(" Drawn are the first {} of {} series; the table has all.", most_series, plot.lines.size());
}

inline std::string by_step_sentence(const Analysis& analysis, const LinePlot& plot) {
  const Line& line = leading(plot, mean_of);
  std::string out =
      fmt::format("{}: {} over {}", line.series->label, range_text(line.curve),
                  analysis.prompts.size() == 1 ? count_text(line.curve.size(), "row")
                                               : fmt::format("{} of {}", count_text(line.curve.size(), "step"),
                                                             count_text(analysis.prompts.size(), "prompt")));
  if (const Line* noise = noise_for(plot, *line.series)) {
    std::size_t overlap = 0, common = 0;
    for (const auto& [step, point] : line.curve)
      if (const auto other = noise->curve.find(step); other != noise->curve.end()) {
        ++common;
        overlap += point.low <= other->second.high;
      }
    out += fmt::format("; {}: {}; ", noise->series->label, range_text(noise->curve));
    out += overlap == 0 ? fmt::format("they overlap at none of {} positions", common)
                        : fmt::format("they overlap at {} of {} positions", overlap, common);
  } else if (!line.series->noise) {
    out += "; there is no noise to hold it against";
  }
  out += '.';
  std::optional<int> diverged;
  for (const Line& one : plot.lines)
    for (const Comparison* comparison : one.series->comparisons)
      if (const PromptSteps* found = comparison->first_divergence())
        diverged = std::min(diverged.value_or(*found->first_divergent_step), *found->first_divergent_step);
  if (diverged)
    out += fmt::format(" Tokens differ from step {} on in at least one pair{}; {}.", *diverged,
                       analysis.prompts.size() == 1 ? "" : " and prompt",
                       analysis.after_divergence ? "later rows are shown all the same" : "its later rows are left out");
  return out + undrawn_text(plot);
}

inline std::string growth_text(const Line& line) {
  const auto& [first, start] = *line.curve.begin();
  const auto& [last, end] = *line.curve.rbegin();
  const std::string from = fmt::format("{} at layer {}", number_text(start.mean), first),
                    to = fmt::format("{} at layer {}", number_text(end.mean), last);
  if (start.mean == 0) {
    const auto enters = std::ranges::find_if(line.curve, [](const auto& entry) { return entry.second.mean != 0; });
    if (enters == line.curve.end()) return fmt::format("{}: 0 at every layer", line.series->label);
    return fmt::format("{}: {}, enters by layer {}, {}", line.series->label, from, enters->first, to);
  }
  const double times = end.mean / start.mean;
  if (std::abs(times - 1) < 0.05) return fmt::format("{}: about the same, {} and {}", line.series->label, from, to);
  return fmt::format("{}: from {} to {}, {:.3g} times", line.series->label, from, to, times);
}

inline std::string by_layer_sentence(const LinePlot& plot) {
  const Line& line = leading(plot, mean_of);
  std::string out = growth_text(line);
  if (const Line* noise = noise_for(plot, *line.series)) out += "; " + growth_text(*noise);
  return out + "." + undrawn_text(plot);
}

/// "0", "1", "2", "3–4", "5–8", ...; from 1025 on by power of two.
inline std::string bucket_text(std::size_t bucket) {
  const auto low = UlpHistogram::lower(bucket), high = UlpHistogram::upper(bucket);
  if (low == high) return std::to_string(low);
  if (high <= 1024) return fmt::format("{}–{}", low, high);
  return "≤ 2" + superscript(static_cast<int>(bucket) - 1);
}

/// A bucket by its upper end: 0, 1, 2, 4, 8, ...
inline std::string bucket_mark(std::size_t bucket) {
  if (bucket <= 11) return std::to_string(UlpHistogram::upper(bucket));
  return "2" + superscript(static_cast<int>(bucket) - 1);
}

inline Curve shares_of(const UlpHistogram& histogram) {
  double total = 0;
  std::size_t last = 0;
  for (std::size_t k = 0; k < histogram.counts.size(); ++k) {
    total += static_cast<double>(histogram.counts[k]);
    if (histogram.counts[k] != 0) last = k;
  }
  Curve out;
  if (total == 0) return out;
  for (std::size_t k = 0; k <= last; ++k)
    add_point(out, static_cast<int>(k), static_cast<double>(histogram.counts[k]) / total);
  return out;
}

/// The bucket up to which half of the elements that differ at all lie.
inline std::size_t median_bucket(const Curve& shares) {
  double seen = 0;
  const double differing = 1 - shares.at(0).mean;
  for (const auto& [bucket, point] : shares) {
    if (bucket == 0) continue;
    seen += point.mean;
    if (seen >= differing / 2) return static_cast<std::size_t>(bucket);
  }
  return 0;
}

inline std::string ulp_sentence(const LinePlot& plot) {
  const Line& line = leading(plot, [](const Curve& shares) { return 1 - shares.at(0).mean; });
  const auto text = [](const Line& one) {
    const double differing = 1 - one.curve.at(0).mean;
    if (differing == 0) return fmt::format("{}: no element differs", one.series->label);
    return fmt::format("{}: {} of the elements differ, half of them by at most {} ULP", one.series->label,
                       percent_text(differing), UlpHistogram::upper(median_bucket(one.curve)));
  };
  std::string out = text(line);
  if (const Line* noise = noise_for(plot, *line.series)) out += "; " + text(*noise);
  return out + "." + undrawn_text(plot);
}

}  // namespace detail

/// The deciding metric (for log-probabilities by token id KL divergence) at every row of one tap.
inline Figure by_step_figure(const Analysis& analysis, const std::vector<Series>& all, const Tap& tap) {
  const bool divergence = tap.signal.view == View::aligned;
  Figure figure;
  figure.name = "by_step";
  figure.title = divergence ? "Divergence by step" : "Distance by step";
  LinePlot plot;
  plot.about = words_for(tap);
  plot.x_label = "decode step (below 0: the end of the prompt)";
  plot.x_column = "step";
  plot.y_label = divergence ? "KL divergence, nats" : fmt::format("{} distance", deciding_title);
  if (analysis.prompts.size() > 1) plot.each = "row";
  detail::add_lines(plot, all, [&](const Series& series) {
    return curve_by_step(series, tap, divergence ? metric_named("kl") : deciding);
  });
  if (const auto why = detail::why_no_lines(plot)) {
    figure.sentence = *why;
    return figure;
  }
  figure.sentence = detail::by_step_sentence(analysis, plot);
  if (detail::all_x(plot).size() < 2)
    figure.sentence = "Only one row was compared: there is no course over steps. " + figure.sentence;
  else
    draw_lines(plot, figure);
  return figure;
}

/// Mean distance at every layer, in the signal's own units or relative to its length.
inline Figure by_layer_figure(const std::vector<Series>& all, Signal signal, bool relative) {
  constexpr StatisticPlace relative_mean = statistic_named(metric_named("relative_l2"), "mean");
  Figure figure;
  figure.name = relative ? "by_layer_relative" : "by_layer";
  figure.title = relative ? "Relative distance by layer" : "Distance by layer";
  LinePlot plot;
  plot.about = words_for(signal);
  plot.x_label = "layer";
  plot.x_column = "layer";
  plot.y_label = relative ? "mean of L2 / length of the signal" : fmt::format("mean {} distance", deciding_title);
  detail::add_lines(plot, all, [&](const Series& series) {
    return curve_by_layer(series, signal, relative ? relative_mean : deciding_mean);
  });
  if (const auto why = detail::why_no_lines(plot)) {
    figure.sentence = *why;
  } else if (const auto layers = detail::all_x(plot); layers.size() < 2) {
    figure.sentence =
        fmt::format("Only layer {} was compared (--layer all compares every stored layer).", layers.front());
  } else {
    figure.sentence = detail::by_layer_sentence(plot);
    draw_lines(plot, figure);
  }
  return figure;
}

/// Shares of the elements by distance in units in the last place.
inline Figure ulp_figure(const std::vector<Series>& all, const Tap& tap) {
  Figure figure;
  figure.name = "ulp";
  figure.title = "Distance in units in the last place";
  LinePlot plot;
  plot.about = words_for(tap);
  plot.percent = true;
  plot.x_column = "ULP";
  plot.y_label = "share of elements, %";
  for (std::size_t k = 0; k < UlpHistogram{}.counts.size(); ++k) {
    plot.x_names.push_back(detail::bucket_text(k));
    plot.x_marks.push_back(detail::bucket_mark(k));
  }
  std::string dtype;
  detail::add_lines(plot, all, [&](const Series& series) {
    const UlpHistogram found = ulps_of(series, tap);
    if (dtype.empty()) dtype = found.dtype;
    return detail::shares_of(found);
  });
  plot.x_label = "distance, up to so many ULP of " + dtype;
  if (plot.lines.empty()) {
    figure.sentence = *detail::why_no_lines(plot);
    return figure;
  }
  if (detail::all_x(plot).size() < 2) {
    figure.sentence = "Every element is equal: there is no distance to count.";
    return figure;
  }
  // A curve ends with its last element; behind it the share is zero, and drawn so.
  for (const int x : detail::all_x(plot))
    for (Line& line : plot.lines)
      if (!line.curve.contains(x)) add_point(line.curve, x, 0);
  figure.sentence = detail::ulp_sentence(plot);
  draw_lines(plot, figure);
  return figure;
}

}  // namespace fpf::compare::report
