// The byte-level alphabet of GPT-2's BPE: every byte is written as one printable character, so that a
// vocabulary can be kept as text. Source: byte_encoder of GPT-2's encoder.py; the same in `tokenizers` and in
// GGUF files.
#pragma once

#include <array>
#include <fpf/core/utf8.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace fpf::prompt {

/// byte -> character: printable Latin-1 stands for itself, the other 68 bytes are U+0100, U+0101, ... in
/// order.
constexpr std::array<char32_t, 256> make_byte_characters() {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    table[byte] = printable ? byte : next++;
  }
  return table;
}
inline constexpr std::array<char32_t, 256> byte_characters = make_byte_characters();

/// The byte-level form of one byte, as it stands in a vocabulary.
inline std::string byte_level_encode(unsigned char byte) {
  std::string out;
  append_utf8(out, byte_characters[byte]);
  return out;
}

inline std::string byte_level_encode(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) append_utf8(out, byte_characters[static_cast<unsigned char>(byte)]);
  return out;
}

/// The bytes that a vocabulary's token stands for; nothing if one of its characters is outside the alphabet
/// (then the token is an added one and stands for its own text).
inline std::optional<std::string> byte_level_decode(std::string_view token) {
  static constexpr std::array<int, 0x144> bytes = [] {
    std::array<int, 0x144> table{};
    for (int& entry : table) entry = -1;
    for (int byte = 0; byte < 256; ++byte) table[byte_characters[static_cast<std::size_t>(byte)]] = byte;
    return table;
  }();
  std::string out;
  while (!token.empty()) {
    const Utf8Step step = decode_utf8(token);
    if (!step.valid || step.code_point >= bytes.size() || bytes[step.code_point] < 0) return std::nullopt;
    out += static_cast<char>(bytes[step.code_point]);
    token.remove_prefix(step.length);
  }
  return out;
}

}  // namespace fpf::prompt
