// Text for a report: numbers as people read them, names from files made harmless for HTML, scripts and paths.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fpf/compare/analysis.hpp>
#include <string>
#include <string_view>

namespace fpf::compare::report {

/// "0", "0.254", "1234", "1.23e-5".
inline std::string number_text(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 999.5 && size < 1e5) return fmt::format("{:.0f}", value);
  if (!std::isfinite(value) || (size >= 1e-3 && size < 999.5)) return fmt::format("{:.3g}", value);
  std::string text = fmt::format("{:.2e}", value);  // 1.23e-05
  const std::size_t exponent = text.find('e') + 2;
  while (text[exponent] == '0' && exponent + 1 < text.size()) text.erase(exponent, 1);
  if (text[exponent - 1] == '+') text.erase(exponent - 1, 1);
  return text;
}

/// A share as per cent, never rounded to 0 or 100 when it is neither.
inline std::string percent_text(double share) {
  if (share == 0 || share == 1) return share == 0 ? "0 %" : "100 %";
  if (share < 0.0005) return fmt::format("{} %", number_text(100 * share));
  if (share > 0.9995) return "over 99.9 %";
  return fmt::format("{:.1f} %", 100 * share);
}

/// "1 row", "2 rows".
inline std::string count_text(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

inline std::string_view words_for(Signal signal) {
  constexpr std::string_view words[] = {"hidden states", "key vectors", "log-probabilities by rank",
                                        "log-probabilities by token id"};
  return words[static_cast<std::size_t>(signal)];
}

/// "key vectors, layer 47".
inline std::string words_for(const Tap& tap) {
  std::string words(words_for(tap.signal));
  return tap.layer < 0 ? words : words + ", layer " + std::to_string(tap.layer);
}

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

/// Valid UTF-8 on one line: control characters become spaces, stray bytes U+FFFD; what is longer than
/// `longest` code points ends in an ellipsis.
inline std::string one_line(std::string_view text, std::size_t longest = std::string_view::npos) {
  std::string out;
  std::size_t count = 0, before_last = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (count == longest) return out.substr(0, before_last) + "…";
    before_last = out.size();
    ++count;
    const std::size_t size = code_point_size(text, at);
    const auto lead = static_cast<unsigned char>(text[at]);
    if (size == 0)
      out += "\ufffd";
    else if (lead < 0x20 || lead == 0x7f)
      out += ' ';
    else
      out += text.substr(at, size);
    at += std::max<std::size_t>(size, 1);
  }
  return out;
}

inline std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

/// On one line and at most `longest` code points: names that differ at either end keep both.
inline std::string shortened(std::string_view text, std::size_t longest) {
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

/// For HTML, in content and in attributes.
inline std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : one_line(text)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

/// A part of a file's name: lower-case letters, digits and '_', at most 40 of them.
inline std::string file_stem(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 40)) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    out += upper ? static_cast<char>(c - 'A' + 'a') : plain ? c : '_';
  }
  return out.empty() ? "unnamed" : out;
}

}  // namespace fpf::compare::report
