// The checklist on a terminal.
#pragma once

#include <fpf/compare/output/table.hpp>
#include <fpf/core/program.hpp>
#include <fpf/preflight/checklist.hpp>

namespace fpf::preflight {

/// "pass  the model loads: ...", wrapped where a terminal is narrower, on standard output at once.
inline void print_point(const Point& point) {
  using compare::Style;
  const auto terminal = compare::Terminal::of_stdout();
  constexpr std::string_view words[] = {"pass", "FAIL", "n/a "};
  constexpr Style styles[] = {Style::good, Style::bad, Style::faint};
  const auto index = static_cast<std::size_t>(point.state);
  const std::string line = one_line(fmt::format("{}: {}", point.name, point.text));
  const bool narrow = ::isatty(STDOUT_FILENO) == 1 || std::getenv("COLUMNS") != nullptr;
  std::string text = narrow ? compare::wrapped(line, terminal.width, "      ") : fmt::format("      {}\n", line);
  write_stdout(compare::styled(words[index], styles[index], terminal) + text.substr(4));
}

}  // namespace fpf::preflight
