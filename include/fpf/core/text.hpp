// Text from files and the command line on its way to people: one line, valid UTF-8, nothing that steers a
// terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace fpf {

/// Bytes of the code point that starts at text[at]; 0 where none does.
inline std::size_t code_point_size(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const std::size_t size = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (size > 1 && (lead < 0xc2 || lead > 0xf4)) return 0;
  if (at + size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  return size;
}

inline std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

/// Valid UTF-8 on one line: control characters (C0, DEL, C1) become spaces, stray bytes U+FFFD; what is
/// longer than `longest` code points ends in an ellipsis.
inline std::string one_line(std::string_view text, std::size_t longest = std::string_view::npos) {
  std::string out;
  std::size_t count = 0, before_last = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (count == longest) return out.substr(0, before_last) + "…";
    before_last = out.size();
    ++count;
    const std::size_t size = code_point_size(text, at);
    const auto lead = static_cast<unsigned char>(text[at]);
    const bool c1 = size == 2 && lead == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0;
    if (size == 0)
      out += "\ufffd";
    else if (lead < 0x20 || lead == 0x7f || c1)
      out += ' ';
    else
      out += text.substr(at, size);
    at += std::max<std::size_t>(size, 1);
  }
  return out;
}

}  // namespace fpf
