// What stands in the terminal's tables, compare's and verify's alike: headings, numbers, the columns of metrics.
#pragma once

#include <fmt/format.h>

#include <fpf/compare/analysis.hpp>
#include <fpf/compare/metrics.hpp>
#include <fpf/compare/output/table.hpp>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare {

inline std::string title(std::string_view text, const Terminal& terminal) {
  std::string lines = wrapped(text, terminal.width);
  if (!lines.empty()) lines.pop_back();
  return styled(lines, Style::strong, terminal) + "\n";
}

/// A title behind an empty line.
inline std::string heading(std::string_view text, const Terminal& terminal) {
  return fmt::format("\n{}", title(text, terminal));
}

/// "0", "1.23e-05".
inline std::string short_number(double value) { return value == 0 ? "0" : fmt::format("{:.2e}", value); }

/// A percentage that is 100.0 for all and 0.0 for none alone.
inline std::string equal_text(double fraction) {
  if (fraction < 1 && fraction > 0.9995) return "> 99.9%";
  if (fraction > 0 && fraction < 0.0005) return "< 0.1%";
  return fmt::format("{:.1f}%", 100 * fraction);
}

inline std::string text_of(Form form, double value) {
  if (form == Form::share) return equal_text(value);
  return form == Form::cosine ? fmt::format("{:.8g}", value) : short_number(value);
}

/// Which heading: &Shown::in_compare or &Shown::in_verify.
using Heading = std::string_view Shown::*;

/// Places of the statistics that a table has as columns.
inline std::vector<StatisticPlace> shown_statistics(Heading heading) {
  std::vector<StatisticPlace> out;
  for (std::size_t m = 0; m < metrics.size(); ++m)
    for (std::size_t s = 0; s < metrics[m].statistics.size(); ++s)
      if (!(metrics[m].statistics[s].*heading).empty()) out.push_back({m, s});
  return out;
}

/// Their names for a Table: all but what decides may go where it would be too wide.
inline std::vector<std::string> metric_headings(Heading heading) {
  std::vector<std::string> out;
  for (const StatisticPlace& place : shown_statistics(heading))
    out.push_back(std::string(place == deciding_max ? ">" : "?>")
                      .append(metrics[place.metric].statistics[place.statistic].*heading));
  return out;
}

/// Their cells; empty where the signal has no such metric.
inline std::vector<Cell> metric_cells(const TapDistance& tap, Heading heading) {
  std::vector<Cell> out;
  for (const StatisticPlace& place : shown_statistics(heading)) {
    const Metric& metric = metrics[place.metric];
    out.push_back({metric.is_of(tap.tap.signal) ? text_of(metric.form, tap[place]) : ""});
  }
  return out;
}

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
  std::ranges::move(from, std::back_inserter(to));
}

}  // namespace fpf::compare
