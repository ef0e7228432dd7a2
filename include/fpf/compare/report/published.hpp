// Published measurements as the parts of a report.
#pragma once

#include <algorithm>
#include <fpf/compare/plan/published.hpp>
#include <fpf/compare/report/heat_map.hpp>
#include <fpf/compare/report/html.hpp>
#include <fpf/compare/report/lines.hpp>
#include <string>
#include <vector>

namespace fpf::compare::report {

namespace detail {

inline Figure published_matrix(const published::SizeMatrix& matrix) {
  NamedMatrix named{matrix.title, "L2", matrix.labels, {}};
  for (const auto& row : matrix.distances) named.distances.insert(named.distances.end(), row.begin(), row.end());
  Figure out = heat_map(named);
  out.title = matrix.title;
  std::string classes;
  for (const auto& one : matrix.classes) classes += fmt::format("[{}]", fmt::join(one, ", "));
  out.sentence += fmt::format(" Mean {}; equal to each other: {}.", number_text(matrix.mean), classes);
  if (matrix.deviation)
    out.sentence += fmt::format(" Largest difference from the file's own matrix: {}.", number_text(*matrix.deviation));
  return out;
}

inline Figure published_series(const published::Series& found) {
  Figure out;
  out.name = "series";
  out.title = found.title;
  const auto [smallest, largest] = std::ranges::minmax_element(found.distances);
  const auto label = [&](auto at) { return found.labels[static_cast<std::size_t>(at - found.distances.begin())]; };
  out.sentence = fmt::format("Smallest at {} ({}), largest at {} ({}).", label(smallest), number_text(*smallest),
                             label(largest), number_text(*largest));
  out.table.header = {"", ">L2"};
  for (std::size_t i = 0; i < found.labels.size(); ++i)
    out.table.rows.push_back({found.labels[i], fmt::format("{:.6g}", found.distances[i])});
  if (found.labels.size() < 2 || *largest == 0) return out;
  const Grid table = out.table;
  Series series;
  series.label = found.title;
  LinePlot plot{found.title, "", "L2 distance", "", found.labels, {}, {}, false};
  Line line{&series, {}};
  for (std::size_t i = 0; i < found.distances.size(); ++i)
    add_point(line.curve, static_cast<int>(i), found.distances[i]);
  plot.lines.push_back(std::move(line));
  draw_lines(plot, out);
  out.table = table;
  return out;
}

}  // namespace detail

/// What lies within the files and what between them, the figures' names complete.
inline std::vector<Panel> panels_of(const published::Findings& findings) {
  std::vector<Panel> out;
  if (!findings.matrices.empty()) out.push_back({"Within the files", {}, "within-the-files"});
  for (const auto& matrix : findings.matrices) out.back().figures.push_back(detail::published_matrix(matrix));
  if (!findings.series.empty()) out.push_back({"Between the files", {}, "between-the-files"});
  for (const auto& series : findings.series) out.back().figures.push_back(detail::published_series(series));
  std::size_t number = 0;
  for (Panel& panel : out)
    for (Figure& figure : panel.figures) figure.name = fmt::format("{}-{}", ++number, figure.name);
  return out;
}

inline std::string summary_html(const published::Findings& findings) {
  const auto equal = std::ranges::count(findings.repetitions_equal, true, &std::pair<std::string, bool>::second);
  std::string out = fmt::format("<h2 id=\"summary\">Summary</h2>\n<p>{}.", count_text(findings.files.size(), "file"));
  if (!findings.repetitions_equal.empty())
    out +=
        fmt::format(" {} of {} sets of repetitions are equal bit for bit.", equal, findings.repetitions_equal.size());
  return out + "</p>\n";
}

}  // namespace fpf::compare::report
