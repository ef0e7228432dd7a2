// The identity of a tokeniser: a digest of what it does to a text, however its file is laid out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fpf/core/hash.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// SHA-256, in hexadecimal, of everything that decides which ids encode() gives and which text decode(): equal for a
/// tokenizer.json, the same in other words (whitespace, order of keys, merges as strings or as pairs), and a GGUF file
/// of the same tokeniser. Chat template, begin and end tokens and what is put around a text are not part of it. The
/// bytes: lines "NAME VALUE\n", a text among the values as its length in bytes, ":" and itself:
///     fpf-tokenizer 1
///     token ID TEXT            by ascending id, of ids that have one; byte-level encoded, added tokens as they are
///     merge TEXT               "left right", the first merged first
///     added ID FLAGS TEXT      by ascending id; FLAGS: special, normalised, strip_left, strip_right as 0 or 1
///     split KEEP TEXT          in order; KEEP: 0 everything, 1 gaps, 2 matches; the pattern as the file has it
///     prefix_space STEP        where a leading space is added, before which split
///     nfc, ignore_merges       where they are on
///     unknown FUSE TEXT        the token for bytes without one, where there is one
inline std::string tokenizer_sha256(const Vocabulary& vocabulary) {
  Sha256 hash;
  const auto line = [&](std::string_view head, std::string_view text) {
    hash.update(head).update(fmt::format(" {}:", text.size())).update(text).update("\n");
  };
  hash.update("fpf-tokenizer 1\n");
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
    if (!vocabulary.tokens[id].empty()) line(fmt::format("token {}", id), vocabulary.tokens[id]);
  for (const std::string& merge : vocabulary.merges) line("merge", merge);
  std::vector<AddedToken> added = vocabulary.added;
  std::ranges::stable_sort(added, {}, &AddedToken::id);
  for (const AddedToken& one : added)
    line(fmt::format("added {} {:d}{:d}{:d}{:d}", one.id, one.special, one.normalised, one.strip_left, one.strip_right),
         one.content);
  for (const SplitStep& split : vocabulary.pre_tokeniser.splits)
    line(fmt::format("split {}", static_cast<int>(split.keep)), split.pattern.source());
  if (vocabulary.pre_tokeniser.prefix_space)
    hash.update(fmt::format("prefix_space {}\n", vocabulary.pre_tokeniser.prefix_space_before));
  if (vocabulary.nfc) hash.update("nfc\n");
  if (vocabulary.ignore_merges) hash.update("ignore_merges\n");
  if (vocabulary.unknown_token) line(fmt::format("unknown {:d}", vocabulary.fuse_unknown), *vocabulary.unknown_token);
  return hash.hex();
}

}  // namespace fpf::prompt
