// Text from files and the command line on its way to people: one line, valid UTF-8, nothing that steers a
// terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fpf/core/utf8.hpp>
#include <string>
#include <string_view>

namespace fpf {

/// Of valid UTF-8.
inline std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

/// Valid UTF-8 on one line: control characters (C0, DEL, C1) become spaces, each ill-formed sequence U+FFFD;
/// what is longer than `longest` code points ends in an ellipsis.
inline std::string one_line(std::string_view text, std::size_t longest = std::string_view::npos) {
  std::string out;
  std::size_t count = 0, before_last = 0;
  while (!text.empty()) {
    if (count == longest) return out.substr(0, before_last) + "…";
    before_last = out.size();
    ++count;
    const Utf8Step step = decode_utf8(text);
    const char32_t c = step.code_point;
    append_utf8(out, c < 0x20 || (c >= 0x7f && c < 0xa0) ? U' ' : c);
    text.remove_prefix(step.length);
  }
  return out;
}

}  // namespace fpf
