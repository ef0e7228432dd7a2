// Distances between all configurations as a heat map.
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/compare/report_gnuplot.hpp>
#include <fpf/compare/report_text.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare::report {

/// A symmetric matrix of distances with its labels; NaN where there is none.
struct NamedMatrix {
  std::string about;   // "key vectors, layer 47"
  std::string values;  // "largest L2"
  std::vector<std::string> labels;
  std::vector<double> distances;  // [size, size], row-major

  std::size_t size() const { return labels.size(); }
  double at(std::size_t i, std::size_t j) const { return distances[i * labels.size() + j]; }
  /// Long labels stand at the rows alone, and columns have numbers.
  bool numbered() const {
    return std::ranges::any_of(labels, [](const auto& label) { return code_points(label) > 5; });
  }
  std::string row_label(std::size_t i, std::size_t longest) const {
    const std::string label = shortened(labels[i], longest);
    return numbered() ? fmt::format("{} {}", label, i + 1) : label;
  }
  std::string column_label(std::size_t i) const { return numbered() ? std::to_string(i + 1) : one_line(labels[i]); }
};

namespace detail {

/// What stands in a cell: at most two digits, so that it fits.
inline std::string cell_text(double distance) {
  if (std::isnan(distance)) return "–";
  if (distance == 0) return "0";
  if (distance >= 0.0095 && distance < 99.5) return fmt::format("{:.2g}", distance);
  return number_text(distance).size() <= 5 ? number_text(distance) : fmt::format("{:.0e}", distance);
}

struct Extremes {
  std::size_t pairs = 0, zeros = 0;
  std::optional<std::pair<std::size_t, std::size_t>> largest, smallest;  // of the non-zero ones
};

inline Extremes extremes_of(const NamedMatrix& matrix) {
  Extremes out;
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = i + 1; j < matrix.size(); ++j) {
      const double distance = matrix.at(i, j);
      if (std::isnan(distance)) continue;
      ++out.pairs;
      out.zeros += distance == 0;
      if (distance == 0) continue;
      if (!out.largest || distance > matrix.at(out.largest->first, out.largest->second)) out.largest = {i, j};
      if (!out.smallest || distance < matrix.at(out.smallest->first, out.smallest->second)) out.smallest = {i, j};
    }
  return out;
}

inline std::string matrix_sentence(const NamedMatrix& matrix, const Extremes& found) {
  const auto pair = [&](const std::pair<std::size_t, std::size_t>& at) {
    return fmt::format("{} and {} ({})", matrix.labels[at.first], matrix.labels[at.second],
                       number_text(matrix.at(at.first, at.second)));
  };
  std::string out = "Furthest apart are " + pair(*found.largest);
  const auto value = [&](const auto& at) { return number_text(matrix.at(at->first, at->second)); };
  if (value(found.smallest) != value(found.largest))
    out += fmt::format(", closest {}{}", found.zeros == 0 ? "" : "of those that differ ", pair(*found.smallest));
  if (found.pairs == 1) return out + ", the only pair.";
  if (found.zeros == 0) return out + fmt::format("; none of {} pairs is at 0.", found.pairs);
  return out + fmt::format("; {} of {} pairs {} at 0.", found.zeros, found.pairs, found.zeros == 1 ? "is" : "are");
}

inline std::string matrix_data(const NamedMatrix& matrix) {
  std::string out = "# columns: column, row, distance, its text\n";
  for (std::size_t i = 0; i < matrix.size(); ++i) out += fmt::format("# {}: {}\n", i + 1, one_line(matrix.labels[i]));
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = 0; j < matrix.size(); ++j)
      out += fmt::format("{} {} {} {}\n", j + 1, i + 1, data_text(matrix.at(i, j)), cell_text(matrix.at(i, j)));
  return out;
}

inline Grid matrix_table(const NamedMatrix& matrix) {
  Grid out;
  out.header.push_back("");
  for (std::size_t j = 0; j < matrix.size(); ++j) out.header.push_back(">" + matrix.column_label(j));
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    std::vector<std::string> row{matrix.row_label(i, matrix.labels[i].size())};
    for (std::size_t j = 0; j < matrix.size(); ++j)
      row.push_back(std::isnan(matrix.at(i, j)) ? "–" : number_text(matrix.at(i, j)));
    out.rows.push_back(std::move(row));
  }
  return out;
}

/// Colours from dark (near) to bright (far): viridis (matplotlib, CC0), even for the colour-blind.
inline std::string palette_script(const Axis& axis) {
  std::string out =
      "set palette defined (0 '#440154', 1 '#482878', 2 '#3e4989', 3 '#31688e', 4 '#26828e', 5 '#1f9e89', "
      "6 '#35b779', 7 '#6ece58', 8 '#b5de2b', 9 '#fde725')\n";
  Axis colours = axis;
  colours.zeros = false;  // zeros have no colour
  out += fmt::format("low = {:.6g}; high = {:.6g}\nset cbrange [low:high]\n", colours.low, colours.high);
  if (axis.log) out += "set logscale cb\nset cbtics " + marks_of(colours) + "\n";
  out += axis.log ? "shade(v) = log(v / low) / log(high / low)\n" : "shade(v) = (v - low) / (high - low)\n";
  return out;
}

/// The numbers in the cells, white on dark ones and black on bright ones; nothing where they would not fit.
inline std::string cell_labels(const NamedMatrix& matrix, double cell) {
  std::size_t longest = 1;
  for (const double distance : matrix.distances) longest = std::max(longest, cell_text(distance).size());
  const double size = std::min(12.0, cell / (0.64 * static_cast<double>(longest) + 0.4));
  if (size < 8) return "";
  std::string out;
  for (const auto& [condition, colour] :
       {std::pair<std::string_view, std::string_view>{"$3 > 0 && shade($3) < 0.6", "#ffffff"},
        {"$3 > 0 && shade($3) >= 0.6", "#000000"},
        {"!($3 > 0)", ink}})
    out += fmt::format(", \\\n     file using 1:2:({} ? strcol(4) : '') with labels font ',{:.0f}' textcolor rgb '{}'",
                       condition, size, colour);
  return out;
}

inline void draw_heat_map(const NamedMatrix& matrix, Figure& figure) {
  const std::size_t n = matrix.size();
  std::vector<std::string> rows, columns;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::string label = matrix.row_label(i, 15);
    longest = std::max(longest, code_points(label));
    rows.push_back(fmt::format("{} {}", script_text(label), i + 1));
    if (n <= 16 || i % 5 == 4) columns.push_back(fmt::format("{} {}", script_text(matrix.column_label(i)), i + 1));
  }
  Canvas& canvas = figure.canvas;
  canvas.left = 18 + 8 * static_cast<double>(longest);
  canvas.right = 88;
  canvas.below = 26;
  canvas.plot_height = std::max(n < 4 ? 160.0 : 250.0, 15 * static_cast<double>(n));
  const double cell = (canvas.width - canvas.left - canvas.right) / static_cast<double>(n);
  figure.about = matrix.about + ", " + matrix.values;
  figure.table = matrix_table(matrix);
  figure.data = matrix_data(matrix);
  figure.script = palette_script(axis_of(matrix.distances));
  figure.script += fmt::format("set label 1 {} at screen 0.99, screen {:.4f} right textcolor rgb '{}'\n",
                               script_text(matrix.values), 1 - 13 / canvas.height(), ink);
  figure.script += fmt::format(
      "set xrange [0.5:{0}.5]\nset yrange [{0}.5:0.5]\nset tics scale 0\nset border 0\nset xtics ({1})\nset "
      "ytics ({2})\n",
      n, fmt::join(columns, ", "), fmt::join(rows, ", "));
  figure.script +=
      "plot file using ($3 > 0 ? $1 : NaN):2:(0.48):(0.48):3 with boxxyerror linewidth 0 linecolor palette "
      "fillstyle solid noborder" +
      cell_labels(matrix, cell) + "\n";
}

}  // namespace detail

/// A heat map with the numbers in the cells as long as they fit; zeros and gaps stand without a colour.
inline Figure heat_map(const NamedMatrix& matrix) {
  Figure figure;
  figure.name = "matrix";
  figure.title = "Distances between configurations";
  const detail::Extremes found = detail::extremes_of(matrix);
  if (found.pairs == 0) {
    figure.sentence = matrix.size() < 2 ? "There is one configuration: nothing to compare it with."
                                        : "No two configurations have a row in common.";
  } else if (!found.largest) {
    figure.sentence = fmt::format("All distances are 0 ({}).", count_text(found.pairs, "pair"));
  } else {
    figure.sentence = detail::matrix_sentence(matrix, found);
    detail::draw_heat_map(matrix, figure);
  }
  return figure;
}

}  // namespace fpf::compare::report
