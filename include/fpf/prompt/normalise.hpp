// Unicode normalisation form C.
#pragma once

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <fpf/core/error.hpp>
#include <fpf/core/utf8.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::prompt {

namespace detail {

using CodePoints = std::vector<utf8proc_int32_t>;

// Code points that got a combining class or a (de)composition after Unicode 9.0, the version of `tokenizers`'
// tables, with inert ones between them (UnicodeData.txt of 18.0 against 9.0). They stay as they are and
// nothing moves or composes across them: older tables say so, and which utf8proc is installed then makes no
// difference.
inline bool is_newer_than_nfc_tables(utf8proc_int32_t c) {
  static constexpr std::array<std::pair<utf8proc_int32_t, utf8proc_int32_t>, 27> ranges = {
      {{0x5c8, 0x5c9},     {0x7fd, 0x7fd},     {0x897, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
       {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1af0},   {0x1df6, 0x1dfa},
       {0xa82c, 0xa82c},   {0x105c9, 0x105e4}, {0x10d24, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
       {0x11382, 0x11391}, {0x113c2, 0x113c8}, {0x113ce, 0x113d0}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
       {0x11935, 0x11a99}, {0x11d42, 0x1611e}, {0x16121, 0x1612f}, {0x16d63, 0x16ff1}, {0x1d127, 0x1d128},
       {0x1d250, 0x1d281}, {0x1e08f, 0x1e6f5}}};
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const auto& range) { return c >= range.first && c <= range.second; });
}

inline CodePoints decompose(CodePoints::const_iterator first, CodePoints::const_iterator last) {
  CodePoints out;
  for (; first != last; ++first) {
    std::array<utf8proc_int32_t, 8> parts{};  // the longest canonical decomposition has four
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(*first, parts.data(), parts.size(),
                                static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &boundary);
    if (count < 0) fail("utf8proc cannot decompose U+{:04X}: {}", *first, utf8proc_errmsg(count));
    out.insert(out.end(), parts.begin(), parts.begin() + count);
  }
  return out;
}

// Sorts each run of combining marks by class. utf8proc's own sorting is quadratic in a run's length, and
// documents come from outside.
inline void order_marks(CodePoints& text) {
  const auto combining_class = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  const auto is_mark = [&](utf8proc_int32_t c) { return combining_class(c) != 0; };
  for (auto first = text.begin(); first != text.end();) {
    first = std::find_if(first, text.end(), is_mark);
    const auto last = std::find_if_not(first, text.end(), is_mark);
    std::stable_sort(first, last, [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
    first = last;
  }
}

inline void append_nfc(std::string& out, CodePoints::const_iterator first, CodePoints::const_iterator last) {
  CodePoints text = decompose(first, last);
  order_marks(text);
  const auto length = utf8proc_normalize_utf32(text.data(), static_cast<utf8proc_ssize_t>(text.size()),
                                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (length < 0) fail("utf8proc cannot compose {} code points: {}", text.size(), utf8proc_errmsg(length));
  text.resize(static_cast<std::size_t>(length));
  for (const utf8proc_int32_t c : text) append_utf8(out, static_cast<char32_t>(c));
}

// The same of a whole text, parted at what is newer than the tables.
inline void append_nfc(std::string& out, const CodePoints& text) {
  for (auto first = text.cbegin(); first != text.cend();) {
    const auto last = std::find_if(first, text.cend(), is_newer_than_nfc_tables);
    append_nfc(out, first, last);
    if (last == text.cend()) break;
    append_utf8(out, static_cast<char32_t>(*last));
    first = last + 1;
  }
}

}  // namespace detail

/// NFC of well-formed UTF-8 (Unicode Standard Annex 15) as `tokenizers` does it: with Unicode 9.0's data,
/// from utf8proc.
inline std::string nfc(std::string_view text) {
  constexpr std::size_t block = 4096;  // code points
  const auto is_inert = [](char32_t c) { return c < 0x300 || (c >= 0x4e00 && c < 0xa000); };
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    // A block ends before a character that neither moves nor composes with what is before it.
    detail::CodePoints code_points;
    bool below_first_mark = true;
    std::size_t length = 0;
    while (length < text.size()) {
      const Utf8Step step = decode_utf8(text.substr(length));
      if (code_points.size() >= block && is_inert(step.code_point)) break;
      below_first_mark = below_first_mark && step.code_point < 0x300;
      code_points.push_back(static_cast<utf8proc_int32_t>(step.code_point));
      length += step.length;
    }
    if (below_first_mark)
      out += text.substr(0, length);
    else
      detail::append_nfc(out, code_points);
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace fpf::prompt
