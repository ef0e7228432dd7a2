// Files as a broken disk, a broken program or a hostile hand leaves them: what every reader must survive.
#pragma once

#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fpf/core/error.hpp>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

/// Draws variants of sound files, the same ones for the same seed.
class Mutations {
 public:
  explicit Mutations(std::vector<std::string> sound, std::uint64_t seed = 1)
      : sound_(std::move(sound)), random_(seed) {}

  std::string next() {
    std::string out = sound_[below(sound_.size())];
    for (std::size_t times = 1 + below(3); times > 0; --times) change(out);
    return out;
  }

 private:
  std::size_t below(std::size_t count) { return random_() % count; }

  void change(std::string& text) {
    if (text.empty()) return;
    const std::size_t at = below(text.size()), length = std::min(text.size() - at, std::size_t{1} << below(8));
    switch (below(7)) {
      case 0:  // a bit
        text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        return;
      case 1:  // the end
        text.resize(at);
        return;
      case 2:  // a hole
        text.erase(at, length);
        return;
      case 3:  // a piece twice
        text.insert(below(text.size()), text.substr(at, length));
        return;
      case 4: {  // a number in binary
        const std::uint64_t value = extremes_[below(extremes_.size())];
        for (std::size_t i = 0; i < 8 && at + i < text.size(); ++i)
          text[at + i] = static_cast<char>(value >> (8 * i) & 0xff);
        return;
      }
      default:
        replace_token(text, at);
    }
  }

  /// Another JSON value in the place of a number, a word or a string.
  void replace_token(std::string& text, std::size_t at) {
    constexpr std::string_view stops = ",:[]{} \n";
    const std::size_t begin = text.find_first_not_of(stops, at);
    if (begin == std::string::npos) return;
    std::size_t end = text.find_first_of(stops, begin);
    if (text[begin] == '"') end = text.find('"', begin + 1) + 1;
    if (end == std::string::npos || end <= begin) end = text.size();
    text.replace(begin, end - begin, values_[below(values_.size())]);
  }

  std::vector<std::string> sound_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> extremes_{
      0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, 0x80000000, 0x10000000, ~std::uint64_t{0}, std::uint64_t{1} << 63};
  std::vector<std::string> values_{"null",
                                   "true",
                                   "-1",
                                   "0",
                                   "1.5",
                                   "1e400",
                                   "-9223372036854775808",
                                   "9223372036854775807",
                                   "18446744073709551616",
                                   "4294967296",
                                   "\"\"",
                                   "\"x\"",
                                   "\"\\u0000\"",
                                   "\"\\ud800\"",
                                   "\"\xff\"",
                                   "[]",
                                   "{}",
                                   "[[[[1]]]]",
                                   "[null]",
                                   "{\"a\":{\"a\":null}}",
                                   std::string(300, '[') + std::string(300, ']'),
                                   "\"" + std::string(5000, 'y') + "\""};
};

/// Writes `count` mutations to `file`, one by one, and calls read() behind each: it returns, or throws an fpf::Error that
/// names one of `names`. Anything else would be called an internal error.
template <class Read>
void require_named_refusals(const std::vector<std::string>& sound, const std::string& file,
                            const std::vector<std::string>& names, Read read, int count = 1500) {
  Mutations mutations(sound);
  int refused = 0, failed = 0;
  const auto complain = [&](int i, const std::string& what) {
    if (++failed > 5) return;
    BOOST_ERROR("mutation " << i << " of " << file << ": " << what);
  };
  for (int i = 0; i < count; ++i) {
    std::ofstream(file, std::ios::binary) << mutations.next();
    try {
      read();
    } catch (const fpf::Error& error) {
      ++refused;
      const std::string_view text = error.what();
      bool named = false;
      for (const auto& name : names) named = named || text.find(name) != text.npos;
      if (!named) complain(i, "no name in: " + std::string(text));
    } catch (const std::exception& error) {
      complain(i, std::string("no fpf::Error: ") + error.what());
    }
  }
  BOOST_TEST(failed == 0);
  BOOST_TEST(refused > count / 10);
}

/// Of this process and of its children, so far.
inline void require_modest_memory() {
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    ::getrusage(who, &usage);
    BOOST_TEST(usage.ru_maxrss < 2'000'000);  // KB
  }
}

/// JSON that nests deeper than a stack is.
inline std::vector<std::string> deep_json() {
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  return {std::string(1'000'000, '[') + std::string(1'000'000, ']'), objects + "1" + std::string(100'000, '}')};
}

/// JSON of a few megabytes that takes gigabytes once it is parsed.
inline std::string wide_json() {
  std::string out = "[";
  while (out.size() < (std::size_t{24} << 20)) out += "[],[],[],[],[],[],[],[],";
  return out + "[]]";
}
