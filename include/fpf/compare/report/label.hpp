// Labels of figures: as short as there is room, and never two that look the same for what is not.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fpf/compare/report/text.hpp>
#include <fpf/core/text.hpp>
#include <fpf/core/utf8.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare::report {

inline constexpr double label_size = 13;  // of the figures' text, in units of their canvas

namespace detail {

/// Widths of ASCII from the space on, in hundredths of the size: DejaVu Sans, a wide one of the common fonts.
inline constexpr std::array<std::uint8_t, 95> ascii_widths{
    32, 40, 46, 84, 64, 95, 78, 27, 39,  39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69,  61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63,  63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84};

/// In hundredths of the size.
inline int width_of(char32_t c) {
  if (c >= U' ' && c <= U'~') return ascii_widths[c - U' '];
  return c < 0x1f000 ? 110 : 140;  // no letter or sign of common fonts is wider; emoji are
}

/// In hundredths of the size, so that sums are exact.
inline long hundredths(std::string_view text) {
  long out = 0;
  while (!text.empty()) {
    const Utf8Step step = decode_utf8(text);
    out += width_of(step.code_point);
    text.remove_prefix(step.length);
  }
  return out;
}

/// Of labels.
inline long hundredths(double width) { return static_cast<long>(100 * width / label_size); }

/// The code points of valid UTF-8, each as its bytes.
inline std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t length = decode_utf8(text).length;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace detail

/// How wide a text is drawn at most, in units of a canvas.
inline double text_width(std::string_view text, double size = label_size) {
  return size * static_cast<double>(detail::hundredths(text)) / 100;
}

/// On one line and at most `width` wide: the middle gives way to an ellipsis.
inline std::string shortened_to(std::string_view text, double width) {
  const std::string whole = one_line(text);
  if (text_width(whole) <= width) return whole;
  const auto all = detail::characters(whole);
  std::string head, tail;
  long room = detail::hundredths(width) - detail::hundredths("…");
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string_view next = i % 2 == 0 ? all[i / 2] : all[all.size() - 1 - i / 2];
    if ((room -= detail::hundredths(next)) < 0) break;
    i % 2 == 0 ? head.append(next) : tail.insert(0, next);
  }
  return head + "…" + tail;
}

namespace detail {

/// Whether labels[i] stands for texts[i] alone.
inline bool tell_apart(const std::vector<std::string>& texts, const std::vector<std::string>& labels) {
  std::map<std::string, std::string> known;
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (known.emplace(labels[i], texts[i]).first->second != texts[i]) return false;
  return true;
}

/// line[from, to) with as much around it as there is room for: "…region-2-of…".
inline std::string window(const std::vector<std::string_view>& line, std::size_t from, std::size_t to, double width) {
  std::string core;
  for (std::size_t i = from; i < to; ++i) core.append(line[i]);
  long room = hundredths(width) - 2 * hundredths("…") - hundredths(core);
  if (room < 0) {
    core = shortened_to(core, width - 2 * text_width("…"));
    return (from > 0 ? "…" : "") + core + (to < line.size() ? "…" : "");
  }
  const auto fits = [&](std::string_view c) { return (room -= hundredths(c)) >= 0; };
  for (bool grows = true; grows;) {
    grows = false;
    if (from > 0 && fits(line[from - 1])) core.insert(0, line[--from]), grows = true;
    if (to < line.size() && fits(line[to])) core.append(line[to++]), grows = true;
  }
  return (from > 0 ? "…" : "") + core + (to < line.size() ? "…" : "");
}

/// Each text by what it does not share with all others at their beginning and end.
inline std::vector<std::string> differences(const std::vector<std::string>& texts, double width) {
  std::vector<std::string> lines;
  for (const std::string& text : texts) lines.push_back(one_line(text));
  std::vector<std::vector<std::string_view>> all;
  std::size_t shortest = std::string::npos;
  for (const std::string& line : lines) shortest = std::min(shortest, all.emplace_back(characters(line)).size());
  const auto shared = [&](auto at) {
    return std::ranges::all_of(all, [&](const auto& line) { return at(line) == at(all.front()); });
  };
  std::size_t begin = 0, end = 0;
  while (begin < shortest && shared([&](const auto& line) { return line[begin]; })) ++begin;
  while (begin + end < shortest && shared([&](const auto& line) { return line[line.size() - 1 - end]; })) ++end;
  std::vector<std::string> out;
  for (const auto& line : all) out.push_back(window(line, begin, line.size() - end, width));
  return out;
}

/// A text's words and what stands between them, in turns: a word first, which may be empty.
inline std::vector<std::string_view> words_of(std::string_view text) {
  const auto in_word = [](char c) { return (c & 0x80) != 0 || std::isalnum(static_cast<unsigned char>(c)) != 0; };
  std::vector<std::string_view> out;
  for (bool word = true; word || !text.empty(); word = !word) {
    const auto end = std::ranges::find_if(text, [&](char c) { return in_word(c) != word; }) - text.begin();
    out.push_back(text.substr(0, static_cast<std::size_t>(end)));
    text.remove_prefix(static_cast<std::size_t>(end));
  }
  return out;
}

/// Each text by the words in which not all agree: "…1…bs2"; nothing where they have different numbers of words.
inline std::vector<std::string> differing_words(const std::vector<std::string>& texts, double width) {
  std::vector<std::string> lines;
  for (const std::string& text : texts) lines.push_back(one_line(text));
  std::vector<std::vector<std::string_view>> all;
  for (const std::string& line : lines)
    if (all.emplace_back(words_of(line)).size() != all.front().size()) return {};
  std::vector<std::string> out(texts.size());
  bool left_out = false;
  for (std::size_t w = 0; w < all.front().size(); ++w) {
    const bool differs = std::ranges::any_of(all, [&](const auto& line) { return line[w] != all.front()[w]; });
    for (std::size_t i = 0; i < all.size(); ++i)
      if (differs)
        out[i].append(all[i][w]);
      else if (!left_out)
        out[i] += "…";
    left_out = !differs;
  }
  for (std::string& label : out) label = shortened_to(label, width);
  return out;
}

}  // namespace detail

/// Labels at most `width` wide, different wherever the texts are: shortened in the middle; where that makes two
/// equal, what differs between the texts with as much around it as fits; or the words that differ; or else with
/// the text's number.
inline std::vector<std::string> labels_of(const std::vector<std::string>& texts, double width) {
  std::vector<std::string> out;
  for (const std::string& text : texts) out.push_back(shortened_to(text, width));
  if (detail::tell_apart(texts, out)) return out;
  if (out = detail::differences(texts, width); detail::tell_apart(texts, out)) return out;
  if (out = detail::differing_words(texts, width); !out.empty() && detail::tell_apart(texts, out)) return out;
  out.clear();
  std::map<std::string, std::size_t> numbers;
  for (const std::string& text : texts) {
    const std::string mark = fmt::format(" ({})", numbers.emplace(text, numbers.size() + 1).first->second);
    out.push_back(shortened_to(text, width - text_width(mark)) + mark);
  }
  return out;
}

}  // namespace fpf::compare::report
