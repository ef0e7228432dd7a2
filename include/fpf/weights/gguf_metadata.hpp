// The key-values of a GGUF file (docs/gguf.md in ggml).
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fpf::weights {

/// The key-values of a GGUF file. Strings are views into the mapped file; integers are widened to 64 bits and
/// floats to double, both exactly; booleans stay booleans. It keeps which keys were asked for, so that what nobody read
/// can be named; for one thread at a time.
class GgufMetadata {
 public:
  using Value = std::variant<bool, std::int64_t, std::uint64_t, double, std::string_view, std::vector<std::int64_t>,
                             std::vector<double>, std::vector<std::string_view>>;

  explicit GgufMetadata(std::string file = {}) : file_(std::move(file)) {}

  /// Whether there is such a key; that asks for nothing.
  bool contains(std::string_view key) const { return values_.contains(key); }

  const Value* find(std::string_view key) const {
    asked_.emplace(key);
    return peek(key);
  }
  /// As find(), without asking.
  const Value* peek(std::string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }

  /// The value as T: an integer type (range-checked), a floating type (integers convert), bool,
  /// std::string_view, std::string, or std::vector of int64_t, double, std::string_view. Throws Error naming
  /// key and file when it is missing or of another kind.
  template <class T>
  T get(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr) fail("key '{}' is missing in {}", key, file_);
    return convert<T>(key, *value);
  }

  /// As get(), with `fallback` for a missing key (not for one of another kind).
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    const auto* value = find(key);
    return value == nullptr ? fallback : convert<T>(key, *value);
  }

  /// The strings of an array without copying the vector.
  const std::vector<std::string_view>& strings(std::string_view key) const {
    return alternative<std::vector<std::string_view>>(key, "an array of strings");
  }
  /// The integers of an array without copying the vector.
  const std::vector<std::int64_t>& integers(std::string_view key) const {
    return alternative<std::vector<std::int64_t>>(key, "an array of integers");
  }

  std::vector<std::string_view> keys() const {
    std::vector<std::string_view> out;
    for (const auto& entry : values_) out.push_back(entry.first);
    return out;
  }

  /// The keys that nobody asked for, sorted.
  std::vector<std::string_view> unasked() const {
    std::vector<std::string_view> out;
    for (const auto& entry : values_)
      if (!asked_.contains(entry.first)) out.push_back(entry.first);
    return out;
  }

  /// Throws Error when the key is taken.
  void add(std::string_view key, Value value) {
    if (!values_.try_emplace(std::string(key), std::move(value)).second)
      fail("key '{}' appears twice in {}", key, file_);
  }

 private:
  template <class A>
  const A& alternative(std::string_view key, std::string_view wanted) const {
    const auto* value = find(key);
    if (value == nullptr) fail("key '{}' is missing in {}", key, file_);
    const auto* held = std::get_if<A>(value);
    if (held == nullptr) mismatch(key, *value, wanted);
    return *held;
  }

  [[noreturn]] void mismatch(std::string_view key, const Value& value, std::string_view wanted) const {
    static constexpr std::array<std::string_view, 8> kinds{
        "a boolean", "an integer",           "an integer",         "a float",
        "a string",  "an array of integers", "an array of floats", "an array of strings"};
    fail("key '{}' in {} is {}: expected {}", key, file_, kinds[value.index()], wanted);
  }

  template <class T>
  T convert(std::string_view key, const Value& value) const {
    if constexpr (std::same_as<T, bool>) {
      if (const auto* held = std::get_if<bool>(&value)) return *held;
      mismatch(key, value, "a boolean");
    } else if constexpr (std::integral<T>) {
      if (const auto* held = std::get_if<std::int64_t>(&value); held != nullptr && std::in_range<T>(*held))
        return static_cast<T>(*held);
      if (const auto* held = std::get_if<std::uint64_t>(&value); held != nullptr && std::in_range<T>(*held))
        return static_cast<T>(*held);
      mismatch(key, value,
               fmt::format("an integer from {} to {}", std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    } else if constexpr (std::floating_point<T>) {
      if (const auto* held = std::get_if<double>(&value)) return static_cast<T>(*held);
      if (const auto* held = std::get_if<std::int64_t>(&value)) return static_cast<T>(*held);
      mismatch(key, value, "a number");
    } else if constexpr (std::same_as<T, std::string_view> || std::same_as<T, std::string>) {
      if (const auto* held = std::get_if<std::string_view>(&value)) return T(*held);
      mismatch(key, value, "a string");
    } else {
      if (const auto* held = std::get_if<T>(&value)) return *held;
      mismatch(key, value, "another kind of array");
    }
  }

  std::string file_;
  std::map<std::string, Value, std::less<>> values_;
  mutable std::set<std::string, std::less<>> asked_;
};

}  // namespace fpf::weights
