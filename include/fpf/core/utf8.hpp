// UTF-8: decoding with the replacement of ill-formed sequences, encoding one code point.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fpf {

/// One decoded step of a byte string: `length` bytes stand for `code_point`, or are ill-formed together.
struct Utf8Step {
  char32_t code_point;  // U+FFFD when ill-formed
  std::size_t length;   // 1 to 4
  bool valid;
};

/// Decodes the start of a non-empty `text`. An ill-formed sequence is consumed up to its maximal subpart
/// (Unicode 15.0, section 3.9, "U+FFFD Substitution of Maximal Subparts"), as Python's errors='replace' does.
inline Utf8Step decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) return {U'\ufffd', 1, false};
  // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  char32_t code_point = lead & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {U'\ufffd', i, false};
    const unsigned next = byte(i);
    if (next < (i == 1 ? low : 0x80u) || next > (i == 1 ? high : 0xbfu)) return {U'\ufffd', i, false};
    code_point = (code_point << 6) | (next & 0x3f);
  }
  return {code_point, length, true};
}

inline bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = decode_utf8(text);
    if (!step.valid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

/// Appends a code point below U+110000, no surrogate.
inline void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xc0 | (code_point >> 6));
  } else {
    if (code_point < 0x10000) {
      put(0xe0 | (code_point >> 12));
    } else {
      put(0xf0 | (code_point >> 18));
      put(0x80 | ((code_point >> 12) & 0x3f));
    }
    put(0x80 | ((code_point >> 6) & 0x3f));
  }
  put(0x80 | (code_point & 0x3f));
}

/// The text with every ill-formed sequence replaced by U+FFFD: Python's bytes.decode("utf-8",
/// errors="replace").
inline std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = decode_utf8(text);
    if (step.valid) {
      out.append(text, 0, step.length);
    } else {
      append_utf8(out, step.code_point);
    }
    text.remove_prefix(step.length);
  }
  return out;
}

/// White_Space of the Unicode character database; what \s means to the `tokenizers` package.
inline bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

}  // namespace fpf
