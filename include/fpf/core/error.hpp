// Errors and exit codes: the one way in which a user's mistake, a finding and a bug end a program.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace fpf {

/// What a program returns to its shell; the numbers are part of the command-line contract.
enum class ExitCode : int { ok = 0, bug = 1, user_error = 2, finding = 3, interrupted = 130 };

/// With "\x00" for every zero byte, at which what() would end.
inline std::string without_zero_bytes(std::string_view text) {
  std::string out;
  for (const char c : text) c == '\0' ? out += "\\x00" : out += c;
  return out;
}

/// Something the user gave is wrong: a path, a file's content, a shape, an option, a device, a version.
/// The message is one sentence that says what was expected, what was found, and where. Exit code 2.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string_view message) : std::runtime_error(without_zero_bytes(message)) {}
};

/// A result that must not pass unseen (repetitions differ, a verification failed). Exit code 3.
class Finding : public std::runtime_error {
 public:
  explicit Finding(std::string_view message) : std::runtime_error(without_zero_bytes(message)) {}
};

/// The user asked the program to stop (SIGINT, SIGTERM). Exit code 130.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

/// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace fpf
