// Figures with lines: a value of every series over steps, layers or buckets.
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/compare/report_gnuplot.hpp>
#include <fpf/compare/report_series.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare::report {

struct Line {
  const Series* series = nullptr;
  Curve curve;
};

struct LinePlot {
  std::string about;  // "key vectors, layer 47", for the script's first line
  std::string x_label, y_label, x_column;
  std::vector<std::string> x_names;  // where x counts categories; else x is a number
  std::vector<Line> lines;
  bool percent = false;  // values are shares
};

namespace detail {

inline std::vector<int> all_x(const LinePlot& plot) {
  std::set<int> found;
  for (const Line& line : plot.lines)
    for (const auto& [x, point] : line.curve) found.insert(x);
  return {found.begin(), found.end()};
}

inline bool has_band(const Line& line) {
  return std::ranges::any_of(line.curve, [](const auto& entry) { return entry.second.count > 1; });
}

inline std::string x_text(const LinePlot& plot, int x) {
  return plot.x_names.empty() ? std::to_string(x) : plot.x_names[static_cast<std::size_t>(x)];
}

inline std::string value_text(const LinePlot& plot, double value) {
  return plot.percent ? percent_text(value) : number_text(value);
}

inline std::string lines_data(const LinePlot& plot, const std::vector<int>& xs, double scale) {
  std::string out = fmt::format("# columns: {}; then of each line the mean, lowest and highest comparison\n",
                                plot.x_column);
  for (std::size_t i = 0; i < plot.lines.size(); ++i)
    out += fmt::format("# columns {}-{}: {}\n", 3 * i + 2, 3 * i + 4, one_line(plot.lines[i].series->label));
  for (const int x : xs) {
    out += std::to_string(x);
    for (const Line& line : plot.lines) {
      const auto found = line.curve.find(x);
      if (found == line.curve.end())
        out += " NaN NaN NaN";
      else
        out += fmt::format(" {} {} {}", data_text(scale * found->second.mean),
                           data_text(scale * found->second.low), data_text(scale * found->second.high));
    }
    out += '\n';
  }
  return out;
}

inline Grid lines_table(const LinePlot& plot, const std::vector<int>& xs) {
  Grid out;
  out.header.push_back(">" + plot.x_column);
  for (const Line& line : plot.lines) out.header.push_back(">" + line.series->label);
  for (const int x : xs) {
    std::vector<std::string> row{x_text(plot, x)};
    for (const Line& line : plot.lines) {
      const auto found = line.curve.find(x);
      std::string text = found == line.curve.end() ? "" : value_text(plot, found->second.mean);
      if (!text.empty() && found->second.count > 1)
        text += fmt::format(" ({} – {})", value_text(plot, found->second.low),
                            value_text(plot, found->second.high));
      row.push_back(std::move(text));
    }
    out.rows.push_back(std::move(row));
  }
  return out;
}

inline std::string line_commands(const LinePlot& plot, std::size_t drawn) {
  std::vector<std::string> commands;
  for (std::size_t i = 0; i < drawn; ++i)
    if (has_band(plot.lines[i]))
      commands.push_back(
          fmt::format("file using 1:(at(${})):(at(${})) with filledcurves fillstyle transparent solid "
                      "0.18 noborder linecolor rgb '{}' notitle",
                      3 * i + 3, 3 * i + 4, colour_of(*plot.lines[i].series)));
  for (std::size_t i = 0; i < drawn; ++i) {
    const Series& series = *plot.lines[i].series;
    commands.push_back(
        fmt::format("file using 1:(at(${})) with linespoints linecolor rgb '{}' dashtype {} pointtype {} "
                    "pointsize 0.5 title {}",
                    3 * i + 2, colour_of(series), series.dashed ? "(6,4)" : "1", point_of(series),
                    script_text(one_line(series.label, 56))));
  }
  return fmt::format("plot {}\n", fmt::join(commands, ", \\\n     "));
}

inline std::string x_script(const LinePlot& plot, const std::vector<int>& xs) {
  const double margin = std::max(0.3, 0.02 * (xs.back() - xs.front()));
  std::string out = fmt::format("set xrange [{:g}:{:g}]\n", xs.front() - margin, xs.back() + margin);
  if (plot.x_names.empty()) return out + axis_label('x', plot.x_label);
  std::vector<std::string> marks;
  for (const int x : xs) marks.push_back(fmt::format("{} {}", script_text(x_text(plot, x)), x));
  const bool turned = xs.size() > 7;
  return out + fmt::format("set xtics ({}){}\n", fmt::join(marks, ", "), turned ? " rotate by -40" : "") +
         axis_label('x', plot.x_label) + (turned ? "set xlabel offset 0,-1.4\n" : "");
}

}  // namespace detail

/// Fills in a figure's script, data and table. There must be at least two x, and a value that is not zero.
inline void draw_lines(const LinePlot& plot, Figure& figure) {
  const std::vector<int> xs = detail::all_x(plot);
  const double scale = plot.percent ? 100 : 1;
  std::vector<double> values;
  for (const Line& line : plot.lines)
    for (const auto& [x, point] : line.curve)
      for (const double value : {point.low, point.mean, point.high}) values.push_back(scale * value);
  const Axis axis = axis_of(values);
  Canvas& canvas = figure.canvas;
  canvas.entries = std::min(plot.lines.size(), most_series);
  if (plot.x_names.size() > 7 && xs.size() > 7) canvas.below = 78;
  figure.table = detail::lines_table(plot, xs);
  figure.data = detail::lines_data(plot, xs, scale);
  figure.about = plot.about;
  figure.script = grid_script("ytics") + detail::x_script(plot, xs) + axis_label('y', plot.y_label) +
                  axis_script('y', axis) + detail::line_commands(plot, canvas.entries);
}

}  // namespace fpf::compare::report
