// Run times of the configurations.
#pragma once

#include <algorithm>
#include <fpf/compare/report/gnuplot.hpp>
#include <fpf/compare/report/series.hpp>
#include <string>
#include <vector>

namespace fpf::compare::report {

namespace detail {

inline std::string timing_sentence(const Analysis& analysis, const std::vector<const Configuration*>& timed) {
  const auto [fastest, slowest] =
      std::ranges::minmax_element(timed, {}, [](const Configuration* c) { return c->timing.mean; });
  std::string out =
      fmt::format("Fastest is {} ({} s), slowest {} ({} s)", (*fastest)->id, number_text((*fastest)->timing.mean),
                  (*slowest)->id, number_text((*slowest)->timing.mean));
  if ((*fastest)->timing.mean == (*slowest)->timing.mean)
    out = fmt::format("All {} take {} s on average", timed.size(), number_text((*fastest)->timing.mean));
  std::size_t tested = 0, separated = 0;
  for (const TimingComparison& found : analysis.timing) {
    tested += found.p_value.has_value();
    separated += found.separated;
  }
  if (tested == 0)
    return out + (analysis.timing.empty()
                      ? "."
                      : "; too few repetitions, or none that vary, to test whether run time tells values apart.");
  return out + fmt::format("; run time alone separates {} of {} tested pairs (Welch, 1 %).", separated, tested);
}

inline Grid timing_table(const Analysis& analysis) {
  Grid out{{"configuration", ">mean, s", ">variance, s²", ">prefill, s", ">decode, s", "repetitions, s"}, {}};
  const auto text = [](const std::optional<double>& value) { return value ? number_text(*value) : std::string(); };
  for (const Configuration& configuration : analysis.configurations) {
    const Timing& timing = configuration.timing;
    if (timing.seconds.empty()) continue;
    std::vector<std::string> seconds;
    for (const double value : timing.seconds) seconds.push_back(number_text(value));
    out.rows.push_back({configuration.id, number_text(timing.mean), number_text(timing.variance),
                        text(timing.prefill_seconds), text(timing.decode_seconds),
                        fmt::format("{}", fmt::join(seconds, ", "))});
  }
  return out;
}

inline std::vector<Hint> timing_hints(const std::vector<const Configuration*>& timed, const Canvas& canvas) {
  const double height = canvas.plot_height / static_cast<double>(timed.size());
  std::vector<Hint> out;
  for (std::size_t i = 0; i < timed.size(); ++i) {
    const Timing& timing = timed[i]->timing;
    const auto [fastest, slowest] = std::ranges::minmax(timing.seconds);
    out.push_back(
        {canvas.left,
         canvas.top + height * static_cast<double>(i),
         canvas.plot_width(),
         height,
         {timed[i]->id, fmt::format("{}, {} to {} s, {} s on average", count_text(timing.seconds.size(), "repetition"),
                                    number_text(fastest), number_text(slowest), number_text(timing.mean))}});
  }
  return out;
}

}  // namespace detail

/// Repetitions as points, their mean as a bar, a configuration a line.
inline Figure timing_figure(const Analysis& analysis) {
  Figure figure;
  figure.name = "timing";
  figure.title = "Run time";
  std::vector<const Configuration*> timed;
  std::vector<double> seconds;
  for (const Configuration& configuration : analysis.configurations) {
    if (configuration.timing.seconds.empty()) continue;
    timed.push_back(&configuration);
    seconds.insert(seconds.end(), configuration.timing.seconds.begin(), configuration.timing.seconds.end());
  }
  if (timed.empty()) {
    figure.sentence = "The files hold no run times.";
    return figure;
  }
  figure.table = detail::timing_table(analysis);
  figure.sentence = detail::timing_sentence(analysis, timed);
  if (!(*std::ranges::min_element(seconds) > 0)) return figure;
  Axis axis = axis_of(seconds);
  const double smallest = *std::ranges::min_element(seconds);
  std::string note;
  if (!axis.log && smallest > 0.5 * axis.high) {
    const double span = std::max(axis.high / 1.06 - smallest, 0.02 * smallest);
    axis.low = smallest - 0.15 * span;
    axis.high = smallest + 1.15 * span;
    note = " (the axis does not begin at 0)";
  }
  std::vector<std::string> ids;
  for (const Configuration* configuration : timed) ids.push_back(configuration->id);
  const auto labels = labels_of(ids, 170);
  double longest = 0;
  for (const std::string& label : labels) longest = std::max(longest, text_width(label));
  Canvas& canvas = figure.canvas;
  canvas.left = 20 + longest;
  canvas.right = 26;
  canvas.plot_height = 24 + 24 * static_cast<double>(timed.size());
  std::vector<std::string> marks;
  figure.data = "# columns: line, seconds; one block of repetitions, one of means\n";
  std::string means = "\n\n";
  for (std::size_t i = 0; i < timed.size(); ++i) {
    marks.push_back(fmt::format("{} {}", script_text(labels[i]), i + 1));
    for (const double value : timed[i]->timing.seconds) figure.data += fmt::format("{} {}\n", i + 1, value);
    means += fmt::format("{} {}\n", i + 1, timed[i]->timing.mean);
  }
  figure.data += means;
  canvas.x_label = "seconds" + note;
  canvas.top = 12;
  figure.about = "repetitions as circles, mean as a bar";
  figure.script = axis_script('x', axis) + grid_script("xtics") +
                  fmt::format("set yrange [{}.5:0.5]\nset ytics ({})\n", timed.size(), fmt::join(marks, ", "));
  figure.script += fmt::format(
      "plot file index 1 using (at($2)):($1 - 0.3):(0):(0.6) with vectors nohead linecolor rgb '{}' "
      "linewidth 2 notitle, \\\n"
      "     file index 0 using (at($2)):1 with points linecolor rgb '{}' pointtype 6 pointsize 0.8 notitle\n",
      ink, change_colours[0]);
  figure.hints = detail::timing_hints(timed, canvas);
  return figure;
}

}  // namespace fpf::compare::report
