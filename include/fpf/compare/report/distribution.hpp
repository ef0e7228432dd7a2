// Noise against signal: the distances of all rows that a verdict rests on, with its threshold.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <fpf/compare/report/gnuplot.hpp>
#include <fpf/compare/report/series.hpp>
#include <fpf/compare/statistics.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf::compare::report {

namespace detail {

inline constexpr std::size_t bins = 28;

struct Bin {
  double low = 0, high = 0, share = 0;  // low = high = 0: the rows that are 0
};

/// Shares of the rows by distance: zeros apart, the others in bins of equal width on the axis.
inline std::vector<Bin> histogram(const std::vector<double>& values, const Axis& axis) {
  std::vector<Bin> out(bins + 1);
  const auto edge = [&](std::size_t i) {
    const double t = static_cast<double>(i) / static_cast<double>(bins);
    return axis.log ? axis.low * std::pow(axis.high / axis.low, t) : axis.low + t * (axis.high - axis.low);
  };
  for (std::size_t i = 0; i < bins; ++i) out[i + 1] = {edge(i), edge(i + 1), 0};
  for (const double value : values) {
    std::size_t bin = 0;
    if (value > 0) {
      const double t = axis.log ? std::log(value / axis.low) / std::log(axis.high / axis.low)
                                : (value - axis.low) / (axis.high - axis.low);
      bin = 1 + std::min(bins - 1, static_cast<std::size_t>(std::max(0.0, t * static_cast<double>(bins))));
    }
    out[bin].share += 1 / static_cast<double>(values.size());
  }
  return out;
}

/// One histogram of the figure: the noise, or the rows of one changed value.
struct Sample {
  std::string label;
  std::string_view colour;
  int point = 7;
  const std::vector<double>* values = nullptr;
  std::vector<double> largest;  // of each comparison and prompt: what the threshold is held against
};

inline std::vector<Sample> samples_of(const Analysis& analysis, const std::vector<const Verdict*>& verdicts) {
  std::vector<Sample> out;
  const Verdict& first = *verdicts.front();
  if (!first.noise.empty())
    out.push_back({fmt::format("noise, {}", count_text(first.noise.size(), "row")), noise_colour, 7, &first.noise,
                   first.noise_largest});
  const auto values = tested_values(analysis);
  for (const Verdict* verdict : verdicts) {
    if (verdict->signal.empty()) continue;
    Series series;
    series.style = static_cast<std::size_t>(std::ranges::find(values, verdict->value) - values.begin());
    out.push_back({fmt::format("{}, {}", change_text(analysis, verdict->value, in_figures),
                               count_text(verdict->signal.size(), "row")),
                   colour_of(series), point_of(series), &verdict->signal, verdict->signal_largest});
  }
  if (out.size() > most_series) out.resize(most_series);
  return out;
}

/// Two blocks a sample: its bins, and the largest distance of each comparison and prompt.
inline std::string distribution_data(const std::vector<Sample>& samples, const Axis& axis, double& highest) {
  std::string out =
      "# two blocks a sample: from, to, share in % (0 to 0: rows without a difference); then the largest "
      "distance of each comparison and prompt\n";
  for (const Sample& sample : samples) {
    out += fmt::format("# {}\n", one_line(sample.label));
    for (const Bin& bin : histogram(*sample.values, axis)) {
      highest = std::max(highest, 100 * bin.share);
      if (bin.share > 0) out += fmt::format("{} {} {}\n", bin.low, bin.high, 100 * bin.share);
    }
    out += "\n\n";
    for (const double largest : sample.largest) out += fmt::format("{}\n", largest);
    out += "\n\n";
  }
  return out;
}

inline Grid distribution_table(const std::vector<Sample>& samples) {
  Grid out{{"sample", ">zeros", ">smallest", ">median", ">95 %", ">largest"}, {}};
  for (const Sample& sample : samples) {
    auto values = *sample.values;
    std::ranges::sort(values);
    out.rows.push_back({sample.label, std::to_string(std::ranges::count(values, 0.0)), number_text(values.front()),
                        number_text(quantile_of_sorted(values, 0.5)), number_text(quantile_of_sorted(values, 0.95)),
                        number_text(values.back())});
  }
  return out;
}

inline std::string distribution_commands(const std::vector<Sample>& samples, double highest, bool one_prompt) {
  std::vector<std::string> commands;
  for (std::size_t i = 0; i < samples.size(); ++i)
    commands.push_back(
        fmt::format("file index {} using (0):($3/2):(left($1,$2)):(right($2)):(0):3 with boxxyerror "
                    "linecolor rgb '{}' fillstyle transparent solid 0.22 border title {}",
                    2 * i, samples[i].colour, script_text(key_text(samples[i].label))));
  for (std::size_t i = 0; i < samples.size(); ++i)
    commands.push_back(
        fmt::format("file index {} using (at($1)):({:.4g}) with points linecolor rgb '{}' pointtype {} "
                    "pointsize 0.7 notitle",
                    2 * i + 1, highest * (1.08 + 0.07 * static_cast<double>(i)), samples[i].colour, samples[i].point));
  commands.push_back(
      fmt::format("NaN with points linecolor rgb '{}' pointtype 7 pointsize 0.7 title 'points above: largest "
                  "distance of each comparison{}'",
                  ink, one_prompt ? "" : " and prompt"));
  commands.push_back(fmt::format("NaN with lines linecolor rgb '{}' dashtype (6,3) linewidth 1.5 title rule", ink));
  return fmt::format("plot {}\n", fmt::join(commands, ", \\\n     "));
}

inline std::string verdict_clause(const Analysis& analysis, const Verdict& verdict) {
  std::string out = fmt::format("{}: {}", change_text(analysis, verdict.value, in_text), headline_of(verdict));
  if (verdict.signal.empty()) return out;
  if (verdict.reason == Reason::no_noise)
    out += ", signal rows reach " + number_text(*std::ranges::max_element(verdict.signal));
  if (verdict.ratio) out += fmt::format(", {} times the noise floor", number_text(*verdict.ratio));
  if (verdict.auc) out += fmt::format(", AUC {:.3f}", *verdict.auc);
  if (verdict.auc_low) out += fmt::format(" ({:.3f} to {:.3f})", *verdict.auc_low, *verdict.auc_high);
  return out;
}

/// What the threshold is, for the key.
inline std::string rule_text(const Verdict& verdict) {
  if (verdict.noise_from_digests) return "threshold 0: all repetitions have equal digests, so noise is 0";
  if (verdict.noise_floor == 0) return "threshold 0: the noise floor is 0";
  return fmt::format("threshold: {:g} × noise floor = {}", verdict.threshold,
                     number_text(verdict.threshold * verdict.noise_floor));
}

/// Why there is nothing to draw; nothing when there is.
inline std::optional<std::string> why_no_distribution(const std::vector<const Verdict*>& verdicts,
                                                      const std::vector<Sample>& samples) {
  const Verdict& first = *verdicts.front();
  const bool noise = first.noise_from_digests || !first.noise.empty();
  const bool signal = std::ranges::any_of(verdicts, [](const Verdict* v) { return !v->signal.empty(); });
  if (!noise || !signal) return "There is nothing to hold against each other: " + first.text + ".";
  const bool zero = std::ranges::all_of(samples, [](const Sample& sample) {
    return std::ranges::all_of(*sample.values, [](double value) { return value == 0; });
  });
  if (zero) return "Every distance is 0, of noise and of signal.";
  return {};
}

/// Where zeros are drawn: a bar in the band of a logarithmic axis, or one around 0.
inline std::string zero_bar_script(const Axis& axis) {
  const double width = (axis.high - axis.low) / static_cast<double>(bins);
  const auto in_band = [&](double part) { return axis.bottom() * std::pow(axis.low / axis.bottom(), part); };
  std::string out = fmt::format("zero_left = {:.6g}; zero_right = {:.6g}\n", axis.log ? in_band(0.25) : -width / 2,
                                axis.log ? in_band(0.75) : width / 2);
  if (!axis.log) out += fmt::format("set xrange [{:.6g}:{:.6g}]\n", axis.zeros ? -width : 0, axis.high);
  return out + "left(from, to) = to > 0 ? from : zero_left\nright(to) = to > 0 ? to : zero_right\n";
}

/// A strip for every bin that holds rows: "rows with L2 1.2e-6 to 1.4e-6", and how many of each sample.
inline std::vector<Hint> distribution_hints(const Verdict& verdict, const std::vector<Sample>& samples,
                                            const Axis& axis, const Canvas& canvas) {
  const double bar = (axis.high - axis.low) / static_cast<double>(bins);  // of the zeros, on a linear axis
  const double left = axis.log ? axis.bottom() : axis.zeros ? -bar : 0;
  const auto at = [&](double v) {
    const double t = axis.log ? std::log(v / left) / std::log(axis.high / left) : (v - left) / (axis.high - left);
    return canvas.left + canvas.plot_width() * t;
  };
  std::vector<std::vector<Bin>> found;
  for (const Sample& sample : samples) found.push_back(histogram(*sample.values, axis));
  std::vector<Hint> out;
  for (std::size_t b = 0; b <= bins; ++b) {
    const Bin& bin = found.front()[b];
    const bool zero = b == 0;
    const double to = zero ? (axis.log ? axis.low : bar / 2) : bin.high;
    Hint hint{zero ? canvas.left : at(bin.low), canvas.top, 0, canvas.plot_height, {}};
    hint.width = at(to) - hint.x;
    hint.lines.push_back(zero ? fmt::format("{}: rows at distance 0", words_for(verdict.tap))
                              : fmt::format("{}: rows with an {} distance of {} to {}", words_for(verdict.tap),
                                            deciding_title, number_text(bin.low), number_text(bin.high)));
    for (std::size_t s = 0; s < samples.size(); ++s)
      if (const double share = found[s][b].share; share > 0)
        hint.lines.push_back(fmt::format("{}: {} of them, {:.0f}", samples[s].label, percent_text(share),
                                         share * static_cast<double>(samples[s].values->size())));
    if (hint.lines.size() > 1) out.push_back(std::move(hint));
  }
  return out;
}

inline void draw_distribution(const Verdict& verdict, const std::vector<Sample>& samples, Figure& figure) {
  const double threshold = verdict.threshold * verdict.noise_floor;
  std::vector<double> values{threshold};
  for (const Sample& sample : samples) values.insert(values.end(), sample.values->begin(), sample.values->end());
  const Axis axis = axis_of(values);
  double highest = 0;
  figure.data = distribution_data(samples, axis, highest);
  figure.canvas.entries = samples.size() + 2;
  figure.about = words_for(verdict.tap);
  figure.script = axis_script('x', axis) + zero_bar_script(axis);
  figure.script += fmt::format(
      "threshold = {}\nrule = {}\n"
      "set arrow 1 from at(threshold), graph 0 to at(threshold), graph 1 nohead linecolor rgb '{}' "
      "dashtype (6,3) linewidth 1.5\n",
      threshold, script_text(rule_text(verdict)), ink);
  figure.script +=
      fmt::format("set yrange [0:{:.6g}]\n", highest * (1.08 + 0.07 * static_cast<double>(samples.size())));
  if (highest > 80) figure.script += "set ytics 0, 20, 100\n";
  figure.canvas.x_label = fmt::format("{} distance of a row", deciding_title);
  figure.canvas.y_label = "share of rows, %";
  figure.script += grid_script("ytics") + distribution_commands(samples, highest, verdict.prompts == 1);
  figure.hints = distribution_hints(verdict, samples, axis, figure.canvas);
}

}  // namespace detail

/// The verdicts of one tap and scope: they share their noise.
inline Figure distribution_figure(const Analysis& analysis, const std::vector<const Verdict*>& verdicts) {
  const bool across = verdicts.front()->scope == Scope::across_hardware;
  Figure figure;
  figure.name = across ? "noise_signal_across" : "noise_signal_within";
  figure.title =
      across ? "Noise against signal, across hardware types" : "Noise against signal, within a hardware type";
  const auto samples = detail::samples_of(analysis, verdicts);
  if (!samples.empty()) figure.table = detail::distribution_table(samples);
  if (const auto why = detail::why_no_distribution(verdicts, samples)) {
    figure.sentence = *why;
    return figure;
  }
  std::vector<std::string> clauses;
  for (const Verdict* verdict : verdicts) clauses.push_back(detail::verdict_clause(analysis, *verdict));
  figure.sentence = fmt::format("{}.", fmt::join(clauses, "; "));
  detail::draw_distribution(*verdicts.front(), samples, figure);
  return figure;
}

}  // namespace fpf::compare::report
