// Text from files and the command line on its way to people: one line, valid UTF-8, nothing that steers a terminal,
// nothing that cannot be seen.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <fpf/core/utf8.hpp>
#include <string>
#include <string_view>

namespace fpf {

/// Names in a sentence: "eager, compiled or portable".
template <class Names>
std::string listed(const Names& names, std::string_view last = " or ") {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) out += i + 1 == names.size() ? last : ", ";
    out += names[i];
  }
  return out;
}

/// Of valid UTF-8.
inline std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

/// Characters that steer (C0, DEL, C1, line and paragraph separators, the bidirectional controls of Unicode 15.0, table
/// 23-3) or cannot be seen (zero-width spaces and joiners, the soft hyphen, tags): text with them is not what it looks
/// like.
inline bool is_invisible(char32_t c) {
  const auto within = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  return c < 0x20 || within(0x7f, 0x9f) || c == 0xad || c == 0x61c || c == 0x180e || within(0x200b, 0x200f) ||
         within(0x2028, 0x202e) || within(0x2060, 0x206f) || c == 0xfeff || within(0xfff9, 0xfffb) ||
         within(0xe0000, 0xe007f);
}

namespace detail {

/// "\n", "\x1b", "\u202e", "\U000e0041".
inline std::string escape_of(char32_t c) {
  const auto code = static_cast<unsigned>(c);
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  if (c < 0x80) return fmt::format("\\x{:02x}", code);
  return c < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
}

/// What `text` begins with as it is shown, which is taken off: its characters, or for what `hidden` says and for bytes
/// that are no UTF-8 ("\xff") their escapes.
template <class Hidden>
std::string take_shown(std::string_view& text, const Hidden& hidden) {
  const Utf8Step step = decode_utf8(text);
  const std::string_view taken = text.substr(0, step.length);
  text.remove_prefix(step.length);
  if (step.valid) return hidden(step.code_point) ? escape_of(step.code_point) : std::string(taken);
  std::string out;
  for (const char byte : taken) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return out;
}

}  // namespace detail

/// Valid UTF-8 on one line: what is_invisible() and what is no UTF-8 stand as escapes. What is longer than `longest`
/// code points ends in an ellipsis. Done twice it is the same as once.
inline std::string one_line(std::string_view text, std::size_t longest = std::string_view::npos) {
  std::string out;
  std::size_t count = 0, before_last = 0;
  while (!text.empty()) {
    const std::string shown = detail::take_shown(text, is_invisible);
    const std::size_t more = code_points(shown);
    if (more > longest - count) return out.substr(0, count == longest ? before_last : out.size()) + "…";
    before_last = out.size();
    count += more;
    out += shown;
  }
  return out;
}

/// On one line and at most `longest` code points, cut in its middle: what tells texts apart, and what is said of a long
/// value, often stands at an end.
inline std::string cut_in_the_middle(std::string_view text, std::size_t longest) {
  const std::string whole = one_line(text);
  const std::size_t count = code_points(whole);
  if (count <= longest) return whole;
  const std::size_t head = (longest - 1) / 2, tail = longest - 1 - head;
  std::string out;
  std::size_t index = 0;
  for (const char c : whole) {
    if ((c & 0xc0) != 0x80 && ++index == head + 1) out += "…";
    if (index <= head || index > count - tail) out += c;
  }
  return out;
}

/// A name that people tell from others by looking at it (a config_id, a device's name): printable ASCII as it is,
/// everything else as escapes, with blanks that begin, end or follow another as "\x20" and a backslash doubled. Names
/// that differ are shown differently, whatever script, invisible character or normal form they hide behind.
inline std::string visible_name(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const bool outer = out.empty() || out.ends_with(' ') || out.ends_with("\\x20") || name.size() == 1;
    if (name.front() == '\\' || (name.front() == ' ' && outer)) {
      out += name.front() == ' ' ? "\\x20" : "\\\\";
      name.remove_prefix(1);
    } else {
      out += detail::take_shown(name, [](char32_t c) { return c < 0x20 || c > 0x7e; });
    }
  }
  return out;
}

}  // namespace fpf
