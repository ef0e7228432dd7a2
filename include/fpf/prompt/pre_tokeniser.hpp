// Pre-tokenisers: how a text is cut into the pieces that BPE merges within.
#pragma once

#include <cstddef>
#include <fpf/core/error.hpp>
#include <fpf/prompt/regex.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// One step: cut each piece at the matches of a pattern (Split, Digits, and ByteLevel's own pattern in
/// tokenizer.json).
struct SplitStep {
  enum class Keep { everything, gaps, matches };  // behaviour Isolated, Removed, Removed with invert
  Regex pattern;
  Keep keep = Keep::everything;
};

/// Splits in order; the byte-level step that ends every supported pre-tokeniser is BPE's own.
struct PreTokeniser {
  std::vector<SplitStep> splits;
  bool prefix_space = false;            // ByteLevel's add_prefix_space: each piece that lacks a leading space gets one
  std::size_t prefix_space_before = 0;  // ... before this step

  /// Calls visit(piece) for every piece of well-formed UTF-8, in order, until one returns false, which is returned
  /// then. The views live until visit returns.
  template <class Visit>
  bool for_each_piece(std::string_view text, Visit&& visit) const {
    return run(0, text, visit);
  }

 private:
  template <class Visit>
  bool run(std::size_t step, std::string_view text, Visit& visit) const {
    if (text.empty()) return true;
    if (prefix_space && step == prefix_space_before && text.front() != ' ') {
      const std::string prefixed = " " + std::string(text);
      return cut(step, prefixed, visit);
    }
    return cut(step, text, visit);
  }

  template <class Visit>
  bool cut(std::size_t step, std::string_view text, Visit& visit) const {
    if (step == splits.size()) return visit(text);
    const SplitStep& split = splits[step];
    return split.pattern.for_each_piece(text, [&](std::string_view piece, bool matched) {
      return split.keep == (matched ? SplitStep::Keep::gaps : SplitStep::Keep::matches) || run(step + 1, piece, visit);
    });
  }
};

namespace patterns {

/// GPT-2's encoder.py; also what ByteLevel does with use_regex.
inline constexpr std::string_view gpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
/// tokenizer.json of Qwen2, Qwen2.5 and Qwen3.
inline constexpr std::string_view qwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// tokenizer.json of Llama 3.
inline constexpr std::string_view llama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace patterns

/// tokenizer.json's Digits: numeric characters (Rust's char::is_numeric, general categories Nd, Nl and No)
/// one by one, or in runs.
inline SplitStep digits(bool individually) {
  // Unicode 17's numbers too: the package's own table is a version ahead of its regular expressions.
  return {Regex(std::string(R"([\p{N}\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6}])") + (individually ? "" : "+"))};
}

/// The pre-tokeniser that a GGUF file names in tokenizer.ggml.pre: gpt2 (gpt-2), smollm, qwen2 or llama3
/// (llama-bpe). Throws Error naming any other.
inline PreTokeniser pre_tokeniser_named(std::string_view name) {
  if (name == "gpt2" || name == "gpt-2") return {{SplitStep{Regex(patterns::gpt2)}}};
  if (name == "smollm") return {{digits(true), SplitStep{Regex(patterns::gpt2)}}};
  if (name == "qwen2") return {{SplitStep{Regex(patterns::qwen2)}}};
  if (name == "llama3" || name == "llama-bpe") return {{SplitStep{Regex(patterns::llama3)}}};
  fail("unsupported pre-tokeniser \"{}\": expected gpt2, smollm, qwen2 or llama3", name);
}

}  // namespace fpf::prompt
