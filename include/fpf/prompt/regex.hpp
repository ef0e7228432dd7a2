// Regular expressions of tokenisers: the Oniguruma patterns of tokenizer.json, run by PCRE2.
#pragma once

#ifndef PCRE2_CODE_UNIT_WIDTH  // pcre2.h asks for it
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace fpf::prompt {

namespace detail {

// What classes of the pattern mean, independent of the installed PCRE2: its tables are of Unicode 14 on one
// distribution and of 16 on the next, and the same document must give the same tokens on both. Added to
// \p{L}, \p{M} and \p{N} are the general categories that Unicode 15.0, 15.1 and 16.0 assigned
// (DerivedGeneralCategory.txt), as in the Oniguruma that `tokenizers` carries. \s is White_Space; PCRE2's own
// also takes U+180E.
inline constexpr std::string_view white_space =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
inline constexpr std::string_view letters =
    R"(\p{L}\x{1c89}\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}\x{10d4a}-\x{10d65})"
    R"(\x{10d6f}-\x{10d85}\x{10ec2}-\x{10ec4}\x{1123f}\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e})"
    R"(\x{11390}-\x{113b5}\x{113b7}\x{113d1}\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10})"
    R"(\x{11f12}-\x{11f33}\x{1342f}\x{13441}-\x{13446}\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c})"
    R"(\x{18cff}\x{1b132}\x{1b155}\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb}\x{1e5d0}-\x{1e5ed})"
    R"(\x{1e5f0}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})";
inline constexpr std::string_view marks =
    R"(\p{M}\x{897}\x{cf3}\x{ece}\x{10d69}-\x{10d6d}\x{10efc}-\x{10eff}\x{11241}\x{113b8}-\x{113c0}\x{113c2})"
    R"(\x{113c5}\x{113c7}-\x{113ca}\x{113cc}-\x{113d0}\x{113d2}\x{113e1}\x{113e2}\x{11f00}\x{11f01}\x{11f03})"
    R"(\x{11f34}-\x{11f3a}\x{11f3e}-\x{11f42}\x{11f5a}\x{13440}\x{13447}-\x{13455}\x{1611e}-\x{1612f}\x{1e08f})"
    R"(\x{1e4ec}-\x{1e4ef}\x{1e5ee}\x{1e5ef})";
inline constexpr std::string_view numbers =
    R"(\p{N}\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59}\x{16130}-\x{16139})"
    R"(\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})";

// The class that an escape at the start of `rest` names, and the escape's length; nothing if it is another
// escape.
inline std::pair<std::string_view, std::size_t> named_class(std::string_view rest) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> classes = {{{R"(\s)", white_space},
                                                                                            {R"(\S)", white_space},
                                                                                            {R"(\p{L})", letters},
                                                                                            {R"(\p{M})", marks},
                                                                                            {R"(\p{N})", numbers}}};
  for (const auto& [escape, members] : classes)
    if (rest.starts_with(escape)) return {members, escape.size()};
  return {};
}

}  // namespace detail

/// Rewrites an Oniguruma pattern for PCRE2. Throws Error on what the two read differently (\w, \h, && and so
/// on).
inline std::string pcre2_pattern(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  const auto refuse = [&](std::string_view what) {
    fail("unsupported in the pre-tokeniser's regular expression: {} in {}", what, pattern);
  };
  for (std::size_t i = 0; i < pattern.size();) {
    const std::string_view rest = pattern.substr(i);
    if (rest[0] != '\\') {
      if (in_class && (rest.starts_with("&&") || rest[0] == '[')) refuse("a class inside a class");
      if (!in_class && (rest.starts_with("[]") || rest.starts_with("[^]"))) refuse("a class that starts with ]");
      if (rest[0] == '[') in_class = true;
      if (rest[0] == ']') in_class = false;
      out += rest[0];
      ++i;
      continue;
    }
    if (rest.size() < 2) refuse("a trailing backslash");
    if (const auto [members, length] = detail::named_class(rest); length != 0) {
      const bool negated = rest[1] == 'S';
      if (in_class && negated) refuse(R"(\S inside a class)");
      out += in_class ? std::string(members) : (negated ? "[^" : "[") + std::string(members) + "]";
      i += length;
      continue;
    }
    if (std::string_view("wWdDbBhHRXGKZzAyYkgPQEvN").find(rest[1]) != std::string_view::npos) refuse(rest.substr(0, 2));
    out += rest.substr(0, 2);
    i += 2;
  }
  return out;
}

/// A compiled pattern; copies share it. Matching is thread-safe.
class Regex {
 public:
  /// Throws Error naming the pattern when it cannot be compiled or means something else to PCRE2.
  explicit Regex(std::string_view pattern) : source_(pattern) {
    const std::string translated = pcre2_pattern(pattern);
    int error = 0;
    PCRE2_SIZE offset = 0;
    // Multi-line: ^ and $ match at every line, as they do in Oniguruma's default syntax.
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr),
                pcre2_code_free);
    if (!code_) fail("cannot compile the pre-tokeniser's regular expression {}: {}", pattern, message(error));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // faster where there is a JIT, the same without
  }

  /// Calls visit(piece, matched) for every match and every gap between matches of well-formed UTF-8, in
  /// order, without the empty ones; together they are the text. Ends where one returns false, and returns that.
  template <class Visit>
  bool for_each_piece(std::string_view text, Visit&& visit) const {
    const std::unique_ptr<pcre2_match_data, Free> match(pcre2_match_data_create(1, nullptr));
    std::size_t done = 0;
    for (std::size_t from = 0; from < text.size();) {
      if (!find(text, from, match.get())) break;
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
      const std::size_t first = bounds[0], last = bounds[1];
      if (first > done && !visit(text.substr(done, first - done), false)) return false;
      if (last > first && !visit(text.substr(first, last - first), true)) return false;
      done = last;
      from = last > first ? last : next_character(text, last);
    }
    return done >= text.size() || visit(text.substr(done), false);
  }

  const std::string& source() const { return source_; }

 private:
  struct Free {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };

  static std::string message(int error) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(error, text.data(), text.size());
    return reinterpret_cast<const char*>(text.data());
  }

  static std::size_t next_character(std::string_view text, std::size_t at) {
    do ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
    return at;
  }

  /// Of one match; those of steps are PCRE2's own. Whoever writes a pattern must not get 20 GB to backtrack in.
  static pcre2_match_context* limits() {
    static const std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context*)> one = [] {
      auto* context = pcre2_match_context_create(nullptr);
      pcre2_set_heap_limit(context, 256 * 1024);  // KiB
      return std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context*)>(context, pcre2_match_context_free);
    }();
    return one.get();
  }

  bool find(std::string_view text, std::size_t from, pcre2_match_data* match) const {
    const auto run = [&](std::uint32_t options) {
      return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK | options, match, limits());
    };
    int result = run(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) return false;
    if (result < 0)
      fail("the pre-tokeniser's regular expression {} failed at byte {} of {}: {}", source_, from, text.size(),
           message(result));
    return true;
  }

  std::string source_;
  std::shared_ptr<pcre2_code> code_;
};

}  // namespace fpf::prompt
