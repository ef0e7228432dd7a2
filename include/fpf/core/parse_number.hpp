// Numbers in text that must be nothing but a number.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace fpf {

/// The number that the whole of `text` is, in decimal as std::from_chars reads it (no white space, no "+").
/// Empty for anything else, and for what T cannot hold.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace fpf
