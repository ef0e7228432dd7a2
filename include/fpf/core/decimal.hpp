// Numbers of JSON text, without a branch for each digit: rows of numbers are nearly all of an experiment file.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

namespace fpf {

/// Bytes behind a number that read_decimal() may read, whatever they are.
inline constexpr std::size_t decimal_overrun = 17;

namespace detail {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace detail

/// Where the JSON number (RFC 8259, section 6) at `at` ends; nullptr where none begins.
inline const char* end_of_number(const char* at) {
  const auto skip_digits = [](const char* p) {
    if (!detail::is_digit(*p)) return static_cast<const char*>(nullptr);
    while (detail::is_digit(*p)) ++p;
    return p;
  };
  at += *at == '-';
  at = *at == '0' ? (detail::is_digit(at[1]) ? nullptr : at + 1) : skip_digits(at);
  if (at != nullptr && *at == '.') at = skip_digits(at + 1);
  if (at == nullptr || (*at != 'e' && *at != 'E')) return at;
  ++at;
  return skip_digits(at + (*at == '+' || *at == '-'));
}

namespace detail {

/// The digits that eight bytes begin with: how many, and their value with zeros behind them up to the eighth, so that
/// "25;x..." has 25000000. All eight at once, without a branch. (Adding and multiplying the bytes of one register is
/// Lemire's "Number parsing at a gigabyte per second", 2021.)
struct EightDigits {
  [[gnu::always_inline]] explicit EightDigits(const char* at) {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, at, 8);
    bytes ^= 0x3030303030303030;  // a digit is 0 to 9 now
    const std::uint64_t others =
        ((bytes | (bytes + 0x7676767676767676)) >> 7) & 0x0101010101010101;  // right up to the first
    count = static_cast<unsigned>(std::countr_zero(others)) / 8;             // 8 of none
    bytes &= (others - 1) & ~others;
    bytes = bytes * 10 + (bytes >> 8);
    value = ((bytes & 0x000000ff000000ff) * 0x000f424000000064 +
             ((bytes >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >>
            32;
  }
  unsigned count;
  std::uint64_t value;
};

/// The T nearest to a number of double precision that was `text`. Rounded twice it would be wrong where the double lies
/// halfway between two floats: of all shortest decimals of floats for 7.038531e-26 alone.
template <class T>
T nearest(double number, std::string_view text) {
  auto value = static_cast<T>(number);
  constexpr std::uint64_t below_float = (std::uint64_t{1} << 29) - 1;
  if constexpr (std::is_same_v<T, float>)
    if ((std::bit_cast<std::uint64_t>(number) & below_float) == (below_float + 1) / 2) [[unlikely]]
      std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// read_decimal() of any number.
template <class T>
const char* read_any_decimal(const char* at, T& value) {
  const char* const end = end_of_number(at);
  if (end == nullptr) return nullptr;
  double number = 0;
  if (std::from_chars(at, end, number).ec != std::errc{}) number = std::numeric_limits<double>::quiet_NaN();
  value = nearest<T>(number, {at, end});
  if constexpr (std::is_same_v<T, float>)  // a subnormal's last place is no float's last place
    if (number != 0 && std::abs(number) < std::numeric_limits<float>::min()) std::from_chars(at, end, value);
  return end;
}

}  // namespace detail

/// Reads the JSON number at `at` as the T nearest to it (float or double; ties to even) and returns where it ends, or
/// nullptr where none begins. A number beyond double's range becomes a NaN, one beyond float's an infinity.
/// decimal_overrun bytes behind the number must be readable. (Inlined in any case: a call takes a quarter more time.)
template <class T>
[[gnu::always_inline]] inline const char* read_decimal(const char* at, T& value) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  const char* const start = at;
  const bool negative = *at == '-';
  at += negative;
  // Nearly all numbers are one digit, a point and up to fourteen: then their digits and 1e14 are exact, and one
  // division rounds once. Nothing here branches on what changes from number to number.
  if (detail::is_digit(at[0]) && at[1] == '.') [[likely]] {
    const detail::EightDigits first(at + 2), second(at + 10);
    const std::uint64_t both = -(std::uint64_t{first.count} >> 3);  // all ones where the second eight count
    const unsigned more = second.count & static_cast<unsigned>(both);
    const char* const end = at + 2 + first.count + more;
    if (first.count != 0 && more <= 6 && (*end | 0x20) != 'e') [[likely]] {
      const std::uint64_t whole = static_cast<std::uint64_t>(at[0] - '0') * 100000000 + first.value;
      const auto digits = static_cast<std::int64_t>(whole * 1000000 + (second.value & both) / 100);
      const double number = static_cast<double>(digits) / 1e14;
      const std::uint64_t sign = std::uint64_t{negative} << 63;
      value = detail::nearest<T>(std::bit_cast<double>(std::bit_cast<std::uint64_t>(number) | sign), {start, end});
      return end;
    }
  }
  return detail::read_any_decimal(start, value);
}

/// Where an array of JSON text is none, and at which element.
struct ArrayFault {
  const char* at = nullptr;
  std::size_t index = 0;
  bool element = false;  // what stands there is no element; else no ',' or ']' stands there
};

/// Walks `text`, "[...]" with nothing around it: read(at) gives where the element at `at` ends, or nullptr for none.
/// Returns the first fault; one whose `at` is nullptr is none.
template <class Read>
ArrayFault read_array(std::string_view text, Read read) {
  const auto after_space = [](const char* p) {
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') [[unlikely]]++ p;
    return p;
  };
  const char *at = text.data(), *const last = at + text.size() - 1;
  if (text.size() < 2 || *at != '[' || *last != ']') return {at};
  at = after_space(at + 1);
  if (at == last) return {};
  for (std::size_t index = 0;; ++index) {
    const char* const end = read(at);
    if (end == nullptr) return {at, index, true};
    at = after_space(end);
    if (at == last) return {};
    if (*at != ',') return {at, index};
    at = after_space(at + 1);
  }
}

/// What a message shows of the text at a fault: up to the next separator, at least one character.
inline std::string_view token_at(const char* at, std::string_view text) {
  const std::string_view rest = text.substr(static_cast<std::size_t>(at - text.data()));
  return rest.substr(0, std::max<std::size_t>(1, rest.find_first_of(" \n\r\t,]")));
}

}  // namespace fpf
