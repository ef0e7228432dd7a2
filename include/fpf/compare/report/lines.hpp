// Figures with lines: a value of every series over steps, layers or buckets.
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/compare/report/gnuplot.hpp>
#include <fpf/compare/report/series.hpp>
#include <set>
#include <string>
#include <string_view>
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
  std::vector<std::string> x_marks;  // the same for the axis, where shorter
  std::vector<Line> lines;
  bool percent = false;                  // values are shares
  std::string_view each = "comparison";  // what the points of a curve are of

  /// "step 3", "3–4 ULP".
  std::string place(int x) const {
    if (x_names.empty()) return fmt::format("{} {}", x_column, x);
    return x_names[static_cast<std::size_t>(x)] + (x_column.empty() ? "" : " " + x_column);
  }
};

namespace detail {

inline std::vector<int> all_x(const LinePlot& plot) {
  std::set<int> found;
  for (const Line& line : plot.lines)
    for (const auto& [x, point] : line.curve) found.insert(x);
  return {found.begin(), found.end()};
}

inline bool has_band(const Line& line) {
  return std::ranges::any_of(line.curve, [](const auto& entry) { return entry.second.low < entry.second.high; });
}

inline std::string x_text(const LinePlot& plot, int x) {
  return plot.x_names.empty() ? std::to_string(x) : plot.x_names[static_cast<std::size_t>(x)];
}

inline std::string value_text(const LinePlot& plot, double value) {
  return plot.percent ? percent_text(value) : number_text(value);
}

inline std::string lines_data(const LinePlot& plot, const std::vector<int>& xs, double scale) {
  std::string out =
      fmt::format("# columns: {}; then of each line the mean, lowest and highest {}\n", plot.x_column, plot.each);
  for (std::size_t i = 0; i < plot.lines.size(); ++i)
    out += fmt::format("# columns {}-{}: {}\n", 3 * i + 2, 3 * i + 4, one_line(plot.lines[i].series->label));
  for (const int x : xs) {
    out += std::to_string(x);
    for (const Line& line : plot.lines) {
      const auto found = line.curve.find(x);
      if (found == line.curve.end())
        out += " NaN NaN NaN";
      else
        out += fmt::format(" {} {} {}", data_text(scale * found->second.mean), data_text(scale * found->second.low),
                           data_text(scale * found->second.high));
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
      if (!text.empty() && found->second.low < found->second.high)
        text += fmt::format(" ({} – {})", value_text(plot, found->second.low), value_text(plot, found->second.high));
      row.push_back(std::move(text));
    }
    out.rows.push_back(std::move(row));
  }
  return out;
}

inline std::string line_commands(const LinePlot& plot, std::size_t drawn) {
  std::vector<std::string> commands;
  const auto bands = std::ranges::count_if(plot.lines, has_band);
  for (std::size_t i = 0; i < drawn && bands <= 3; ++i)  // more of them only hide each other
    if (has_band(plot.lines[i]))
      commands.push_back(
          fmt::format("file using 1:(at(${})):(at(${})) with filledcurves fillstyle transparent solid "
                      "0.18 noborder linecolor rgb '{}' notitle",
                      3 * i + 3, 3 * i + 4, colour_of(*plot.lines[i].series)));
  for (std::size_t i = 0; i < drawn; ++i) {
    const Series& series = *plot.lines[i].series;
    commands.push_back(
        fmt::format("file using 1:(at(${})) with linespoints linecolor rgb '{}' dashtype {} pointtype {} "
                    "pointsize 0.6 title {}",
                    3 * i + 2, colour_of(series), series.dashed ? "(6,4)" : "1", point_of(series),
                    script_text(key_text(series.label))));
  }
  return fmt::format("plot {}\n", fmt::join(commands, ", \\\n     "));
}

/// Names of categories: every one, or every few where they are many; turned where they are long.
inline std::string category_marks(const LinePlot& plot, const std::vector<int>& xs, Canvas& canvas) {
  const auto& names = plot.x_marks.empty() ? plot.x_names : plot.x_marks;
  const std::size_t stride = xs.size() <= 16 ? (xs.size() > 10 ? 2 : 1) : (xs.size() + 9) / 10;
  std::vector<std::string> marks;
  const auto labels = labels_of(names, 96);
  double width = 0, longest = 0;
  for (std::size_t i = 0; i < xs.size(); i += stride) {
    const std::string& name = labels[static_cast<std::size_t>(xs[i])];
    width += text_width(name) + 12;
    longest = std::max(longest, text_width(name));
    marks.push_back(fmt::format("{} {}", script_text(name), xs[i]));
  }
  const bool turned = width > canvas.plot_width();
  if (turned) canvas.below = 40 + 0.65 * longest;  // by 40 degrees
  return fmt::format("set xtics ({}){}\n", fmt::join(marks, ", "), turned ? " rotate by 40 right" : "");
}

/// The values themselves as marks where they are few: a layer between two that were compared means nothing.
inline std::string number_marks(const std::vector<int>& xs) {
  std::vector<std::string> marks;
  const double apart = 0.055 * (xs.back() - xs.front());
  int last = 0;
  for (const int x : xs) {
    if (!marks.empty() && x - last < apart) continue;
    marks.push_back(fmt::format("'{0}' {0}", x));
    last = x;
  }
  return fmt::format("set xtics ({})\n", fmt::join(marks, ", "));
}

inline double x_margin(const std::vector<int>& xs) { return std::max(0.3, 0.02 * (xs.back() - xs.front())); }

inline std::string x_script(const LinePlot& plot, const std::vector<int>& xs, Canvas& canvas) {
  const double margin = x_margin(xs);
  std::string out = fmt::format("set xrange [{:.6g}:{:.6g}]\n", xs.front() - margin, xs.back() + margin);
  if (!plot.x_names.empty()) return out + category_marks(plot, xs, canvas);
  return xs.size() <= 12 ? out + number_marks(xs) : out;
}

inline std::string point_text(const LinePlot& plot, const Line& line, const CurvePoint& point) {
  std::string out = fmt::format("{}: {}", line.series->label, value_text(plot, point.mean));
  if (point.count > 1)
    return out + fmt::format(", mean of {}, {} to {}", count_text(point.count, plot.each), value_text(plot, point.low),
                             value_text(plot, point.high));
  return line.series->between.empty() ? out : out + " between " + line.series->between;
}

/// A strip around every x: "key vectors, layer 12, step 3: L2 distance", and the value of each line.
inline std::vector<Hint> line_hints(const LinePlot& plot, const std::vector<int>& xs, const Canvas& canvas) {
  const double margin = x_margin(xs), low = xs.front() - margin, high = xs.back() + margin;
  const auto at = [&](double x) { return canvas.left + canvas.plot_width() * (x - low) / (high - low); };
  std::vector<Hint> out;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double from = i == 0 ? low : (xs[i - 1] + xs[i]) / 2.0,
                 to = i + 1 == xs.size() ? high : (xs[i] + xs[i + 1]) / 2.0;
    Hint hint{at(from),
              canvas.top,
              at(to) - at(from),
              canvas.plot_height,
              {fmt::format("{}, {}: {}", plot.about, plot.place(xs[i]), plot.y_label)}};
    for (std::size_t l = 0; l < std::min(plot.lines.size(), most_series); ++l)
      if (const auto found = plot.lines[l].curve.find(xs[i]); found != plot.lines[l].curve.end())
        hint.lines.push_back(point_text(plot, plot.lines[l], found->second));
    out.push_back(std::move(hint));
  }
  return out;
}

}  // namespace detail

/// Fills in a figure's script, data, table and hints. There must be at least two x, and a value that is not zero.
inline void draw_lines(const LinePlot& plot, Figure& figure) {
  const std::vector<int> xs = detail::all_x(plot);
  const double scale = plot.percent ? 100 : 1;
  std::vector<double> values;
  for (const Line& line : plot.lines)
    for (const auto& [x, point] : line.curve)
      for (const double value : {point.low, point.mean, point.high}) values.push_back(scale * value);
  const Axis axis = axis_of(values);
  Canvas& canvas = figure.canvas;
  const std::size_t drawn = std::min(plot.lines.size(), most_series);
  if (drawn > 1 || plot.lines[0].series->label != figure.title) canvas.entries = drawn;
  canvas.x_label = plot.x_label;
  canvas.y_label = plot.y_label;
  figure.about = plot.about;
  figure.table = detail::lines_table(plot, xs);
  figure.data = detail::lines_data(plot, xs, scale);
  figure.script = grid_script("ytics") + detail::x_script(plot, xs, canvas) + axis_script('y', axis) +
                  detail::line_commands(plot, drawn);
  figure.hints = detail::line_hints(plot, xs, canvas);
}

}  // namespace fpf::compare::report
