// Text for a report: numbers as people read them, names from files made harmless for HTML, scripts and paths.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/metrics.hpp>
#include <fpf/core/text.hpp>
#include <iterator>
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

/// A metric's value, in the form of its table.
inline std::string metric_text(Form form, double value) {
  if (form == Form::share) return percent_text(value);
  return form == Form::cosine ? fmt::format("{:.8g}", value) : number_text(value);
}

/// "2.40", "24.0", "240", "2400"; "2.40e-6" for what is small or large: no digit of three is left out.
inline std::string three_digits(double value) {
  if (value == 0) return "0";
  const std::string text = fmt::format("{:.2e}", value);  // 2.40e-06, rounded to three digits
  const int exponent = std::stoi(text.substr(text.find('e') + 1));
  if (exponent >= -2 && exponent <= 3) return fmt::format("{:.{}f}", value, std::max(0, 2 - exponent));
  return fmt::format("{}e{}", text.substr(0, text.find('e')), exponent);
}

/// "1 row", "2 rows".
inline std::string count_text(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// "key vectors", "log-probabilities by rank".
inline std::string words_for(Signal signal) {
  if (signal.view != View::vectors)
    return signal.view == View::ranked ? "log-probabilities by rank" : "log-probabilities by token id";
  std::string words = name_of(signal);
  std::ranges::replace(words, '_', ' ');
  return words;
}

/// "key vectors, layer 47".
inline std::string words_for(const Tap& tap) {
  const std::string words = words_for(tap.signal);
  return tap.layer < 0 ? words : words + ", layer " + std::to_string(tap.layer);
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
