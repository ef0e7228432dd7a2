// Aligned tables for terminals of any width.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fpf/core/text.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare {

/// What the output goes to: its width in columns, and whether it shows colours.
struct Terminal {
  std::size_t width = 120;
  bool colour = false;

  /// Standard output: colours on a terminal alone and never with NO_COLOR set (no-color.org); the terminal's
  /// width, or what COLUMNS says.
  static Terminal of_stdout() {
    Terminal out;
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    const char* no_colour = std::getenv("NO_COLOR");
    out.colour = terminal && (no_colour == nullptr || *no_colour == '\0');
    winsize size{};
    if (terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) out.width = size.ws_col;
    if (const char* columns = std::getenv("COLUMNS"); columns != nullptr && std::atoi(columns) > 0)
      out.width = static_cast<std::size_t>(std::atoi(columns));
    out.width = std::max<std::size_t>(out.width, 20);
    return out;
  }
};

enum class Style { plain, strong, good, bad, faint };

/// `text` in a style, as ANSI escapes where the terminal shows colours. It must not hold escapes of its own.
inline std::string styled(std::string_view text, Style style, const Terminal& terminal) {
  if (!terminal.colour || style == Style::plain || text.empty()) return std::string(text);
  constexpr std::string_view codes[] = {"", "\033[1m", "\033[32m", "\033[31m", "\033[2m"};
  return std::string(codes[static_cast<std::size_t>(style)]).append(text).append("\033[0m");
}

/// Breaks text at spaces so that no line is wider than `width` (words that are wider are cut), each behind
/// `indent`. Control characters become spaces, one code point takes one column.
inline std::string wrapped(std::string_view from, std::size_t width, std::string_view indent = "") {
  const std::string harmless = one_line(from);
  std::string_view text = harmless;
  const std::size_t room = std::max<std::size_t>(width > indent.size() ? width - indent.size() : 1, 8);
  std::string out, line;
  const auto flush = [&] {
    if (!line.empty()) out.append(indent).append(line).append("\n");
    line.clear();
  };
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    if (!line.empty() && code_points(line) + 1 + code_points(word) > room) flush();
    while (code_points(word) > room) {
      std::size_t bytes = 0;
      for (std::size_t columns = 0; columns < room || (word[bytes] & 0xc0) == 0x80; ++bytes)
        columns += (word[bytes] & 0xc0) != 0x80;
      line = word.substr(0, bytes);
      flush();
      word.remove_prefix(bytes);
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  flush();
  return out;
}

struct Cell {
  std::string text;
  Style style = Style::plain;
};

/// Rows under a header. In a column's name a leading '>' aligns it to the right, a leading '?' (before '>')
/// lets it go where the table would be too wide otherwise, the last of them first.
class Table {
 public:
  explicit Table(std::vector<std::string> header) {
    for (std::string& name : header) {
      Column column;
      column.optional = name.starts_with('?');
      if (column.optional) name.erase(0, 1);
      column.right = name.starts_with('>');
      if (column.right) name.erase(0, 1);
      column.name = one_line(name);
      columns_.push_back(std::move(column));
    }
  }

  void add(std::vector<Cell> row) {
    for (Cell& cell : row) cell.text = one_line(cell.text);
    rows_.push_back(std::move(row));
  }
  bool empty() const { return rows_.empty(); }

  /// Aligned columns where they fit; else every row as lines of "name: value".
  std::string render(const Terminal& terminal) const {
    std::vector<std::size_t> widths, shown;
    std::size_t total = 0;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      widths.push_back(code_points(columns_[c].name));
      for (const auto& row : rows_) widths[c] = std::max(widths[c], code_points(row[c].text));
      total += widths[c] + gap;
      shown.push_back(c);
    }
    for (std::size_t c = columns_.size(); c-- > 0 && total > terminal.width + gap;) {
      if (!columns_[c].optional) continue;
      total -= widths[c] + gap;
      std::erase(shown, c);
    }
    return total <= terminal.width + gap ? aligned(shown, widths, terminal) : records(terminal);
  }

 private:
  static constexpr std::size_t gap = 2;

  struct Column {
    std::string name;
    bool right = false, optional = false;
  };

  std::string aligned(const std::vector<std::size_t>& shown, const std::vector<std::size_t>& widths,
                      const Terminal& terminal) const {
    std::string out;
    const auto put = [&](const auto& cell_of) {
      std::string line;
      for (const std::size_t c : shown) {
        const Cell cell = cell_of(c);
        const std::string space(widths[c] - code_points(cell.text), ' ');
        if (c != shown.front()) line.append(gap, ' ');
        if (columns_[c].right) line += space;
        line += styled(cell.text, cell.style, terminal);
        if (!columns_[c].right) line += space;
      }
      out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    };
    put([&](std::size_t c) { return Cell{columns_[c].name, Style::faint}; });
    for (const auto& row : rows_) put([&](std::size_t c) { return row[c]; });
    return out;
  }

  std::string records(const Terminal& terminal) const {
    std::string out;
    for (const auto& row : rows_) {
      for (std::size_t c = 0; c < row.size(); ++c) {
        if (row[c].text.empty()) continue;
        const std::string line = columns_[c].name.empty() ? row[c].text : columns_[c].name + ": " + row[c].text;
        out += wrapped(line, terminal.width, c == 0 ? "" : "  ");
      }
    }
    return out;
  }

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace fpf::compare
