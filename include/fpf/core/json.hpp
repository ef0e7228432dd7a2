// The one reader of JSON metadata. Experiment files, which are too large for it, are walked by
// evidence/json_cursor.hpp and parsed here piece by piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/git_lfs.hpp>
#include <fpf/core/mapped_file.hpp>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace fpf {

/// JSON whose members stay in the order in which they are written. nlohmann::json, which sorts them, is for reading.
using Json = nlohmann::ordered_json;

/// Objects and arrays within one another that any JSON may have. What is parsed is copied, compared and written by
/// recursion, so that deeper nests would take the stack.
inline constexpr int json_levels = 256;
/// Bytes of memory that one text may take once it is parsed, by measure_json()'s account.
inline constexpr std::size_t json_memory = std::size_t{512} << 20;

/// A value as T. A whole number is one that T holds: nlohmann's get<T>() cuts fractions off, and what it makes of 1e30
/// is undefined. Throws nlohmann::json::exception for another type and other numbers.
template <class T>
T json_as(const nlohmann::json& value) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    const bool fits = value.is_number_unsigned()
                          ? std::in_range<T>(value.get<std::uint64_t>())
                          : value.is_number_integer() && std::in_range<T>(value.get<std::int64_t>());
    if (!fits)
      throw nlohmann::json::type_error::create(302, fmt::format("expected a whole number, found {:.40}", value.dump()),
                                               &value);
    return value.is_number_unsigned() ? static_cast<T>(value.get<std::uint64_t>())
                                      : static_cast<T>(value.get<std::int64_t>());
  } else if constexpr (requires {
                         requires std::is_integral_v<typename T::value_type>;
                         typename T::allocator_type;
                       } &&
                       !std::is_convertible_v<T, std::string_view>) {
    T out;
    for (const auto& each : value.get_ref<const nlohmann::json::array_t&>())
      out.push_back(json_as<typename T::value_type>(each));
    return out;
  } else {
    return value.get<T>();
  }
}

/// What is demanded beyond valid JSON (RFC 8259).
struct JsonRules {
  bool unique_keys = false;  // no object says a key twice, at any level
  int levels = json_levels;  // objects and arrays within one another, at most
  std::size_t* memory =
      nullptr;  // bytes that are left to texts that are kept together; nullptr: json_memory for this one
};

enum class JsonFault : std::uint8_t { syntax, repeated_key, depth, memory };

/// What parsing a text would build. Found before it is built: a tree that is too large or too deep must never be.
struct JsonExtent {
  std::size_t memory = 0;                     // bytes, of a tree of nlohmann's values on a 64-bit machine; about
  std::optional<JsonFault> fault{};           // depth or memory: the limit that was passed
  std::size_t byte = std::string_view::npos;  // where
};

/// Measures a text up to its end or to where it passes a limit. It need not be JSON.
inline JsonExtent measure_json(std::string_view text, int levels, std::size_t memory) {
  constexpr std::size_t member = 96, element = 24, container = 48, string = 48;
  JsonExtent out;
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': {
        const std::size_t begin = at++;
        while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
        out.memory += string + (std::min(at, text.size()) - begin);
        break;
      }
      case '{':
      case '[':
        out.memory += container;
        if (++depth > levels) out.fault = JsonFault::depth;
        break;
      case '}':
      case ']':
        --depth;
        break;
      case ':':
        out.memory += member;
        break;
      case ',':
        out.memory += element;
        break;
      default:
        continue;
    }
    if (!out.fault && out.memory > memory) out.fault = JsonFault::memory;
    if (!out.fault) continue;
    out.byte = std::min(at, text.size());
    return out;
  }
  return out;
}

/// Parses `text`, with or without a byte order mark before it: every JSON that anybody can write comes through here.
/// `on_fault(fault, what)` must throw; what: the parser's message, the key, or for depth and memory what is said of the
/// text ("nests deeper than ..."). `Tree` is nlohmann::json or ordered_json.
template <class Tree = nlohmann::json, class OnFault>
Tree parse_json(std::string_view text, const JsonRules& rules, const OnFault& on_fault) {
  const std::size_t memory = rules.memory == nullptr ? json_memory : *rules.memory;
  const JsonExtent extent = measure_json(text, rules.levels, memory);
  if (extent.fault == JsonFault::depth)
    on_fault(JsonFault::depth, fmt::format("nests deeper than {} levels at byte {}", rules.levels, extent.byte));
  if (extent.fault == JsonFault::memory)
    on_fault(JsonFault::memory, fmt::format("takes more memory than the {} MB that are left to it, from byte {} on",
                                            memory >> 20, extent.byte));
  if (rules.memory != nullptr) *rules.memory -= extent.memory;

  std::vector<std::unordered_set<std::string>> open;  // keys so far of the objects around the current one
  const auto check = [&](int, typename Tree::parse_event_t event, Tree& parsed) {
    using Event = typename Tree::parse_event_t;
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key && !open.back().insert(parsed.template get_ref<const std::string&>()).second)
      on_fault(JsonFault::repeated_key, parsed.template get<std::string>());
    return true;
  };
  std::string what;
  try {
    if (!rules.unique_keys) return Tree::parse(text);
    return Tree::parse(text, check);
  } catch (const typename Tree::exception& error) {
    what = error.what();
  }
  on_fault(JsonFault::syntax, what);
  throw std::logic_error("a fault in JSON was not thrown");
}

/// Parses the text of the file `name`. Throws Error naming it, and what it is where it is a Git LFS pointer.
template <class Tree = nlohmann::json>
Tree parse_json(std::string_view text, const std::string& name, const JsonRules& rules = {}) {
  refuse_git_lfs_pointer(text, name);
  return parse_json<Tree>(text, rules, [&](JsonFault fault, const std::string& what) {
    if (fault == JsonFault::repeated_key) fail("{} names '{}' twice", name, what);
    if (fault == JsonFault::syntax) fail("{} is not JSON: {}", name, what);
    fail("{} {}", name, what);
  });
}

/// The same for a text that may be none, such as a line that a kill cut off: nothing then.
template <class Tree = nlohmann::json>
std::optional<Tree> try_parse_json(std::string_view text) {
  try {
    return parse_json<Tree>(text, JsonRules{}, [](JsonFault, const std::string& what) { fail("{}", what); });
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Parses a file. Throws Error naming it.
inline nlohmann::json read_json(const std::filesystem::path& path, const JsonRules& rules = {}) {
  return parse_json(MappedFile(path).text(), path.string(), rules);
}

/// A member of what may be no object at all; a null where there is none.
inline const nlohmann::json& member_or_null(const nlohmann::json& json, const char* key) {
  static const nlohmann::json null;
  if (!json.is_object()) return null;
  const auto found = json.find(key);
  return found == json.end() ? null : *found;
}

/// Typed look-ups in an object, which must outlive this; Errors name the key and `name`, where the object
/// stands. A null counts as missing. It keeps which keys were asked for, so that what nobody read can be named; for one
/// thread at a time.
class JsonObject {
 public:
  JsonObject(const nlohmann::json& json, std::string name) : json_(json), name_(std::move(name)) {}

  /// Whether there is such a key, be it null.
  bool contains(const char* key) const { return json_.contains(key); }
  bool has(const char* key) const {
    asked_.insert(key);
    return json_.contains(key) && !json_.at(key).is_null();
  }
  const nlohmann::json& at(const char* key) const {
    asked_.insert(key);
    return json_.at(key);
  }
  const std::string& name() const { return name_; }

  /// The object's keys that nobody asked for, sorted.
  std::vector<std::string> unasked() const {
    std::vector<std::string> out;
    for (const auto& entry : json_.items())
      if (!asked_.contains(entry.key())) out.push_back(entry.key());
    return out;
  }

  /// Throws Error for a missing value and for one of another type.
  template <class T>
  T get(const char* key) const {
    if (!has(key)) fail("{} lacks '{}'", name_, key);
    return convert<T>(key);
  }
  /// Throws Error for a value of another type.
  template <class T>
  T get_or(const char* key, T fallback) const {
    return has(key) ? convert<T>(key) : fallback;
  }
  std::int64_t positive(const char* key) const {
    const auto value = get<std::int64_t>(key);
    if (value <= 0) fail("'{}' in {} is {}: expected a positive number", key, name_, value);
    return value;
  }
  /// A whole number from 1 to `most`.
  std::int64_t up_to(std::int64_t most, const char* key) const {
    const auto value = has(key) && at(key).is_number_integer() ? at(key).get<std::int64_t>() : 0;
    if (value < 1 || value > most) fail("'{}' in {}: expected a number from 1 to {}", key, name_, most);
    return value;
  }
  /// Throws Error unless the key is missing or has one of the given values.
  template <class T>
  void require(const char* key, std::initializer_list<T> expected) const {
    const auto found = get_or<T>(key, *expected.begin());
    std::string wanted;
    for (const auto& value : expected) {
      if (found == value) return;
      wanted += (wanted.empty() ? "" : " or ") + nlohmann::json(value).dump();
    }
    fail("'{}' in {} is {}: expected {}", key, name_, nlohmann::json(found).dump(), wanted);
  }

 private:
  template <class T>
  T convert(const char* key) const {
    try {
      return json_as<T>(json_.at(key));
    } catch (const nlohmann::json::exception&) {
      fail("'{}' in {} is {}: expected another type", key, name_, json_.at(key).dump());
    }
  }

  const nlohmann::json& json_;
  std::string name_;
  mutable std::set<std::string, std::less<>> asked_;
};

}  // namespace fpf
