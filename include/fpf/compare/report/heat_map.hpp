// Distances between all configurations as a heat map.
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/compare/report/gnuplot.hpp>
#include <fpf/compare/report/label.hpp>
#include <fpf/compare/report/text.hpp>
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
    return std::ranges::any_of(labels, [](const auto& label) { return text_width(label) > 32; });
  }
  /// At most `width` wide, and different wherever the labels are.
  std::vector<std::string> row_labels(double width) const {
    auto out = labels_of(labels, width);
    for (std::size_t i = 0; numbered() && i < out.size(); ++i)
      if (const std::string mark = fmt::format(" ({})", i + 1); !out[i].ends_with(mark)) out[i] += mark;
    return out;
  }
  std::string column_label(std::size_t i) const { return numbered() ? std::to_string(i + 1) : one_line(labels[i]); }
};

namespace detail {

/// The power of ten that the cells' numbers are counted in, so that three digits take four characters; 0 where
/// they do by themselves, or where no one power fits all.
inline int unit_exponent(double smallest, double largest) {
  if ((smallest >= 0.1 && largest < 1000) || largest >= 1000 * smallest) return 0;
  return static_cast<int>(std::floor(std::log10(smallest)));
}

/// What stands in a cell, in units of 10^exponent.
inline std::string cell_text(double distance, int exponent) {
  return std::isnan(distance) ? "–" : three_digits(distance * std::pow(10.0, -exponent));
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

inline std::string matrix_data(const NamedMatrix& matrix, int exponent) {
  std::string out = "# columns: column, row, distance, its text\n";
  for (std::size_t i = 0; i < matrix.size(); ++i) out += fmt::format("# {}: {}\n", i + 1, one_line(matrix.labels[i]));
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = 0; j < matrix.size(); ++j)
      out +=
          fmt::format("{} {} {} {}\n", j + 1, i + 1, data_text(matrix.at(i, j)), cell_text(matrix.at(i, j), exponent));
  return out;
}

inline Grid matrix_table(const NamedMatrix& matrix) {
  Grid out;
  out.header.push_back("");
  for (std::size_t j = 0; j < matrix.size(); ++j) out.header.push_back(">" + matrix.column_label(j));
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    std::vector<std::string> row{matrix.labels[i] + (matrix.numbered() ? fmt::format(" ({})", i + 1) : "")};
    for (std::size_t j = 0; j < matrix.size(); ++j)
      row.push_back(std::isnan(matrix.at(i, j)) ? "–" : number_text(matrix.at(i, j)));
    out.rows.push_back(std::move(row));
  }
  return out;
}

/// Colours from dark (near) to bright (far): viridis (matplotlib, CC0), even for the colour-blind.
inline std::string palette_script(const Axis& axis, const Canvas& canvas) {
  std::string out =
      "set palette defined (0 '#440154', 1 '#482878', 2 '#3e4989', 3 '#31688e', 4 '#26828e', 5 '#1f9e89', "
      "6 '#35b779', 7 '#6ece58', 8 '#b5de2b', 9 '#fde725')\n";
  Axis colours = axis;
  colours.zeros = false;  // zeros have no colour
  out += fmt::format("low = {:.6g}; high = {:.6g}\nset cbrange [low:high]\n", colours.low, colours.high);
  out += fmt::format("set colorbox user origin screen {:.4f}, screen {:.4f} size screen {:.4f}, screen {:.4f}\n",
                     (canvas.width - canvas.right + 8) / canvas.width, canvas.below / canvas.height(),
                     12 / canvas.width, canvas.plot_height / canvas.height());
  if (axis.log) out += "set logscale cb\nset cbtics " + marks_of(colours) + "\n";
  out += axis.log ? "shade(v) = log(v / low) / log(high / low)\n" : "shade(v) = (v - low) / (high - low)\n";
  return out;
}

/// Widest number in a cell at size 1.
inline double widest_cell(const NamedMatrix& matrix, int exponent) {
  double out = 0;
  for (const double distance : matrix.distances) out = std::max(out, text_width(cell_text(distance, exponent), 1));
  return out;
}

/// The numbers in the cells, white on dark ones and black on bright ones.
inline std::string cell_labels(double size) {
  std::string out;
  for (const auto& [condition, colour] :
       {std::pair<std::string_view, std::string_view>{"$3 > 0 && shade($3 / unit) < 0.6", "#ffffff"},
        {"$3 > 0 && shade($3 / unit) >= 0.6", "#000000"},
        {"!($3 > 0)", ink}})
    out += fmt::format(", \\\n     file using 1:2:({} ? strcol(4) : '') with labels font ',{:.1f}' textcolor rgb '{}'",
                       condition, size, colour);
  return out;
}

/// Makes the canvas wide enough for numbers that can be read, where a reasonable width is. Returns their size, or 0.
inline double fit_cells(const NamedMatrix& matrix, int exponent, Canvas& canvas) {
  constexpr double smallest = 10, largest = 12, widest = 1000, gap = 6;
  const double n = static_cast<double>(matrix.size()), text = widest_cell(matrix, exponent);
  const double needed = canvas.left + canvas.right + n * (smallest * text + gap);
  if (needed > widest) return 0;
  canvas.width = std::max(canvas.width, needed);
  return std::min(largest, (canvas.plot_width() / n - gap) / text);
}

/// "A and B: largest L2 of a row 2.44e-6 (key vectors, layer 1)" over every cell but the diagonal's.
inline std::vector<Hint> matrix_hints(const NamedMatrix& matrix, const Canvas& canvas) {
  constexpr std::size_t most = 32;  // of more the table tells
  const std::size_t n = matrix.size();
  const double width = canvas.plot_width() / static_cast<double>(n),
               height = canvas.plot_height / static_cast<double>(n);
  std::vector<Hint> out;
  for (std::size_t i = 0; i < n && n <= most; ++i)
    for (std::size_t j = 0; j < n; ++j)
      if (i != j)
        out.push_back({canvas.left + width * static_cast<double>(j),
                       canvas.top + height * static_cast<double>(i),
                       width,
                       height,
                       {fmt::format("{} and {}", matrix.labels[i], matrix.labels[j]),
                        std::isnan(matrix.at(i, j))
                            ? fmt::format("no row in common, {}", matrix.about)
                            : fmt::format("{} {}, {}", matrix.values, number_text(matrix.at(i, j)), matrix.about)}});
  return out;
}

inline void draw_heat_map(const NamedMatrix& matrix, const Extremes& found, Figure& figure) {
  const std::size_t n = matrix.size();
  const int exponent = unit_exponent(matrix.at(found.smallest->first, found.smallest->second),
                                     matrix.at(found.largest->first, found.largest->second));
  const double unit = std::pow(10.0, exponent);
  std::vector<std::string> rows, columns;
  double longest = 0;
  const auto labels = matrix.row_labels(150);
  for (std::size_t i = 0; i < n; ++i) {
    longest = std::max(longest, text_width(labels[i]));
    rows.push_back(fmt::format("{} {}", script_text(labels[i]), i + 1));
    if (n <= 16 || i % 5 == 4) columns.push_back(fmt::format("{} {}", script_text(matrix.column_label(i)), i + 1));
  }
  Canvas& canvas = figure.canvas;
  canvas.left = 20 + longest;
  canvas.right = 88;
  canvas.below = 31;
  canvas.plot_height = std::max(n < 4 ? 160.0 : 250.0, (n > 16 ? 18.0 : 24.0) * static_cast<double>(n));
  const double size = fit_cells(matrix, exponent, canvas);
  figure.about = matrix.about + ", " + matrix.values;
  figure.table = matrix_table(matrix);
  figure.data = matrix_data(matrix, exponent);
  figure.hints = matrix_hints(matrix, canvas);
  std::vector<double> scaled;
  for (const double distance : matrix.distances) scaled.push_back(distance / unit);
  figure.script = fmt::format("unit = 1e{}  # of the numbers in cells and colours\n", exponent);
  figure.script += palette_script(axis_of(scaled), canvas);
  const std::string values = exponent == 0 ? matrix.values : matrix.values + ", × 10" + superscript(exponent);
  figure.script += fmt::format("set label 1 {} at screen {:.4f}, screen {:.4f} right textcolor rgb '{}'\n",
                               script_text(values), 1 - 6 / canvas.width, 1 - 13 / canvas.height(), ink);
  figure.script += fmt::format(
      "set xrange [0.5:{0}.5]\nset yrange [{0}.5:0.5]\nset tics scale 0\nset border 0\nset xtics ({1})\nset "
      "ytics ({2})\n",
      n, fmt::join(columns, ", "), fmt::join(rows, ", "));
  figure.script +=
      "plot file using ($3 > 0 ? $1 : NaN):2:(0.48):(0.48):($3 / unit) with boxxyerror linewidth 0 linecolor palette "
      "fillstyle solid noborder" +
      (size > 0 ? cell_labels(size) : "") + "\n";
}

}  // namespace detail

/// A heat map with three digits in the cells as long as they fit; zeros and gaps stand without a colour.
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
    detail::draw_heat_map(matrix, found, figure);
  }
  return figure;
}

}  // namespace fpf::compare::report
