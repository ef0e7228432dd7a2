// A forward cursor over JSON text of any size: it finds where values begin and end, and leaves their content
// to read_decimal() (rows of numbers) and nlohmann (small objects).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <forward_list>
#include <fpf/core/error.hpp>
#include <fpf/core/git_lfs.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/utf8.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// Bytes of one row of numbers, at most: in memory it has up to four times as many.
inline constexpr std::size_t longest_row = std::size_t{64} << 20;

/// Walks objects and arrays that the caller enters, and steps over values that it does not. What is stepped
/// over is checked for matching brackets and closed strings alone, at several GB/s. Errors name the source,
/// the JSON path and the byte. (simdjson's documents end at 4 GB and its index costs as much memory as the text.)
class JsonCursor {
 public:
  static constexpr std::size_t max_depth = json_levels;
  /// Bytes of memory that all that is kept of one text may take, however it is spread over it.
  static constexpr std::size_t memory = std::size_t{256} << 20;

  /// `source` is what errors call the text, usually the file name. The text must outlive the cursor; a byte order mark
  /// before it is passed over. Throws Error for a Git LFS pointer.
  JsonCursor(std::string_view text, std::string source)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), source_(std::move(source)) {
    refuse_git_lfs_pointer(text, source_);
    if (text.starts_with("\xef\xbb\xbf")) at_ += 3;  // a byte order mark
  }

  std::size_t offset() const { return static_cast<std::size_t>(at_ - begin_); }

  void enter_object() { enter('{', "an object"); }
  void enter_array() { enter('[', "an array"); }

  /// Counts bytes that a reader keeps of the text beside what parse() gives. Throws Error when it is too much in all.
  void charge(std::size_t bytes) {
    if (bytes > left_) fail_memory(at_);
    left_ -= bytes;
  }

  /// The next key of the object that was entered last, or nothing at its end (which leaves it). The value
  /// must then be entered or taken. Keys are unescaped; a key that stands twice is an error.
  std::optional<std::string_view> next_key() {
    if (!next_member('}')) {
      leave_object();
      return {};
    }
    if (peek() != '"') fail_here("expected a key");
    Frame& frame = frames_.back();
    const std::string_view quoted = skip_string();
    std::string_view key = quoted.substr(1, quoted.size() - 2);
    charge(key_memory);  // until the object is left
    if (key.find('\\') != key.npos) key = frame.unescaped.emplace_front(parse<std::string>(quoted));
    if (!is_utf8(key)) fail_here("a key that is no UTF-8");
    frame.keys.push_back(key);
    if (peek() != ':') fail_here("expected ':' after a key");
    ++at_;
    return key;
  }

  /// Whether the array that was entered last has another element; leaves it at its end.
  bool next_element() {
    if (next_member(']')) {
      ++frames_.back().count;
      return true;
    }
    frames_.pop_back();
    return false;
  }

  /// The first character of the next value.
  char peek() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    if (at_ == end_) fail_here("the text ends too early");
    return *at_;
  }

  /// Steps over the next value and gives its text.
  std::string_view take() {
    switch (peek()) {
      case '{':
      case '[':
        return skip_container();
      case '"':
        return skip_string();
      default:
        return skip_scalar();
    }
  }

  /// Takes the next value and parses it (at most `limit` bytes, duplicate keys refused).
  template <class T = nlohmann::json>
  T take_as(std::size_t limit = std::size_t{1} << 20) {
    const char* start = at_;
    const std::string_view text = take();
    if (text.size() > limit)
      fail_at(start, fmt::format("expected at most {} bytes here, found {}", limit, text.size()));
    return parse<T>(text);
  }

  /// Parses text that take() gave, as JSON or as a T. Keys that stand twice are refused.
  template <class T>
  T parse(std::string_view text) {
    const JsonRules rules{.unique_keys = true, .memory = &left_};
    constexpr bool is_tree = nlohmann::detail::is_basic_json<T>::value;
    using Tree = std::conditional_t<is_tree, T, nlohmann::json>;
    auto value = parse_json<Tree>(text, rules, [&](JsonFault fault, const std::string& what) {
      if (fault == JsonFault::memory) fail_memory(text.data());
      if (fault == JsonFault::depth) fail_at(text.data(), what);
      fail_at(text.data(), fault == JsonFault::repeated_key
                               ? fmt::format("the key {:.80} stands twice in one object", nlohmann::json(what).dump())
                               : fmt::format("expected JSON, found {:.40}", text));
    });
    if constexpr (is_tree)
      return value;
    else
      return convert<T>(value, text);
  }

  /// Nothing but white space may follow.
  void finish() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    if (at_ != end_) fail_here("expected the end of the file");
  }

  /// "runs[2].decode_steps[5].step"
  std::string path() const {
    std::string path;
    for (const Frame& frame : frames_) {
      if (frame.array) {
        if (frame.count != 0) path += fmt::format("[{}]", frame.count - 1);
      } else if (!frame.keys.empty()) {
        path += fmt::format("{}{:.80}", path.empty() ? "" : ".", frame.keys.back());
      }
    }
    return path;
  }

  [[noreturn]] void fail_here(std::string_view what) const { fail_at(at_, what); }

  [[noreturn]] void fail_at(const char* where, std::string_view what) const {
    const std::string path_text = path();
    fail("{}: {}byte {}: {}", source_, path_text.empty() ? "" : path_text + ", ", where - begin_, what);
  }

 private:
  static constexpr std::size_t key_memory = 2 * sizeof(std::string_view);

  [[noreturn]] void fail_memory(const char* where) const {
    fail_at(where, fmt::format("what must be kept of the file takes more than {} MB of memory", memory >> 20));
  }

  struct Frame {
    bool array = false;
    std::size_t count = 0;                     // elements so far
    std::vector<std::string_view> keys;        // so far
    std::forward_list<std::string> unescaped;  // storage of keys that had escapes
  };

  void enter(char bracket, std::string_view expected) {
    const char found = peek();
    if (found != bracket) fail_here(fmt::format("expected {}, found {}", expected, describe(found)));
    if (frames_.size() == max_depth) fail_here(fmt::format("nested deeper than {} levels", max_depth));
    ++at_;
    frames_.emplace_back().array = bracket == '[';
  }

  bool next_member(char close) {
    const Frame& frame = frames_.back();
    const bool first = frame.array ? frame.count == 0 : frame.keys.empty();
    const char found = peek();
    if (found == close) {
      ++at_;
      return false;
    }
    if (first) return true;
    if (found != ',') fail_here(fmt::format("expected ',' or '{}'", close));
    ++at_;
    if (peek() == close) fail_here(fmt::format("expected a value between ',' and '{}'", close));
    return true;
  }

  void leave_object() {
    std::vector<std::string_view> keys = std::move(frames_.back().keys);
    left_ += keys.size() * key_memory;
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) {
      const std::string key(twice->substr(0, 80));
      frames_.back().keys.clear();
      fail_here(fmt::format("the key \"{}\" stands twice in this object", key));
    }
    frames_.pop_back();
  }

  static std::string describe(char c) {
    switch (c) {
      case '{':
        return "an object";
      case '[':
        return "an array";
      case '"':
        return "a string";
      case 't':
      case 'f':
        return "a boolean";
      case 'n':
        return "null";
      default:
        return fmt::format("'{}'", (c >= ' ' && c < 127) ? c : '?');
    }
  }

  std::string_view skip_string() {
    const char* start = at_;
    for (const char* p = at_ + 1;; ++p) {
      p = static_cast<const char*>(std::memchr(p, '"', static_cast<std::size_t>(end_ - p)));
      if (p == nullptr) fail_at(start, "a string that never ends");
      std::ptrdiff_t backslashes = 0;
      while (p[-1 - backslashes] == '\\') ++backslashes;
      if (backslashes % 2 == 0) {
        at_ = p + 1;
        return {start, at_};
      }
    }
  }

  std::string_view skip_scalar() {
    const char* start = at_;
    constexpr std::string_view stops = ",]}: \n\r\t\"[{";
    while (at_ != end_ && stops.find(*at_) == stops.npos) ++at_;
    if (at_ == start) fail_here("expected a value");
    return {start, at_};
  }

  static bool is_structural(char c) {
    const char folded = static_cast<char>(c | 0x20);  // '[' and '{', ']' and '}' differ in this bit alone
    return folded == '{' || folded == '}' || c == '"';
  }

  /// The next bracket or quote. Blocks of 64 bytes without one are found by a loop that compilers vectorise.
  const char* find_structural(const char* p) const {
    while (end_ - p >= 64) {
      unsigned char any = 0;
      for (int i = 0; i < 64; ++i) {
        const auto c = static_cast<unsigned char>(p[i]), folded = static_cast<unsigned char>(c | 0x20);
        any = static_cast<unsigned char>(any | (folded == '{') | (folded == '}') | (c == '"'));
      }
      if (any != 0) break;
      p += 64;
    }
    while (p != end_ && !is_structural(*p)) ++p;
    return p;
  }

  std::string_view skip_container() {
    const char* start = at_;
    std::array<char, max_depth> closers;
    std::size_t depth = 0;
    do {
      at_ = find_structural(at_);
      if (at_ == end_) fail_here("the text ends too early");
      const char c = *at_;
      if (c == '"') {
        skip_string();
        continue;
      }
      if (c == '{' || c == '[') {
        if (depth == max_depth) fail_here(fmt::format("nested deeper than {} levels", max_depth));
        closers[depth++] = c == '{' ? '}' : ']';
      } else if (closers[--depth] != c) {
        fail_here(fmt::format("expected '{}', found '{}'", closers[depth], c));
      }
      ++at_;
    } while (depth != 0);
    return {start, at_};
  }

  template <class T>
  T convert(const nlohmann::json& value, std::string_view text) const {
    if constexpr (std::is_same_v<T, std::string>) {
      if (value.is_string()) return value.get<std::string>();
      fail_at(text.data(), fmt::format("expected a string, found {:.40}", text));
    } else if constexpr (std::is_floating_point_v<T>) {
      if (value.is_number()) return value.get<T>();
      fail_at(text.data(), fmt::format("expected a number, found {:.40}", text));
    } else {
      static_assert(std::is_integral_v<T> && std::is_signed_v<T>);
      try {
        return json_as<T>(value);
      } catch (const nlohmann::json::exception&) {
        fail_at(text.data(), fmt::format("expected an integer, found {:.40}", text));
      }
    }
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  std::string source_;
  std::vector<Frame> frames_;
  std::size_t left_ = memory;
};

}  // namespace fpf::evidence
