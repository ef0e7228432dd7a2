// Several prompts of one document: cuts of its text at places drawn by a seed, none overlapping another.
#pragma once

#include <algorithm>
#include <fpf/core/hash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/prompt/document.hpp>
#include <fpf/prompt/prompt.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// How many prompts to make of a document, and where: with one, of its beginning.
struct Cuts {
  std::int64_t count = 1;
  std::uint64_t seed = 0;
};

namespace detail {

/// A whole number below `limit`, each equally likely: a draw of a generator whose range is no multiple of it is made again.
inline std::uint64_t draw_below(std::mt19937_64& generator, std::uint64_t limit) {
  constexpr std::uint64_t most = std::mt19937_64::max();
  std::uint64_t out = generator();
  while (out >= most - most % limit) out = generator();
  return out % limit;
}

/// Where a word begins, at `from` or behind it: behind the first white space, or, in scripts without, the next character.
inline std::size_t word_from(std::string_view text, std::size_t from) {
  constexpr std::size_t longest_word = 256;
  const std::size_t space =
      from == 0 ? 0 : text.substr(0, std::min(text.size(), from + longest_word)).find_first_of(" \t\r\n", from);
  std::size_t out = space == std::string_view::npos ? from : space;
  while (out < text.size() && (static_cast<unsigned char>(text[out]) & 0xc0) == 0x80) ++out;
  return out + leading_space(text.substr(out));
}

/// Bytes at the beginning of `text` that hold its first `tokens` tokens, at most a 32nd of `about` more than they take.
inline std::size_t bytes_of_first(const Tokenizer& tokenizer, std::string_view text, std::size_t tokens,
                                  std::size_t about) {
  for (std::size_t bytes = about - about / 4; bytes < text.size(); bytes += about / 32 + 1)
    if (tokenizer.encode_first(text.substr(0, bytes), false, tokens + 1).size() > tokens) return bytes;
  return text.size();
}

}  // namespace detail

/// The prompt of a document's text from a byte on, which is stated in it. Throws Error as make_prompt() does.
inline Prompt prompt_from(const Tokenizer& tokenizer, const std::string& text, std::size_t offset,
                          const PromptOptions& options, const std::string& name) {
  if (offset >= text.size()) fail("{} has {} bytes of text: expected one from byte {} on", name, text.size(), offset);
  const std::string where = offset == 0 ? name : fmt::format("{} from byte {} on", name, offset);
  const std::size_t ahead = offset == 0 ? detail::tokens_ahead : 0;  // those of a document are counted once
  Prompt out = make_prompt(tokenizer, std::string_view(text).substr(offset), options, where, ahead);
  out.document_sha256 = sha256_hex(text);
  return out;
}

/// Prompts of exactly options.tokens tokens each, of parts of the document that do not overlap, in its order. With one, of its
/// beginning. With more, their places are as many draws of std::mt19937_64(seed), each equally likely among those that leave
/// room for all, ascending; each prompt begins at the first word behind its place and behind the prompt before it. Throws
/// Error as make_prompt() does, and when they do not fit into the document or two are alike; and Interrupted.
inline std::vector<Prompt> cut_prompts(const Tokenizer& tokenizer, const std::string& text,
                                       const PromptOptions& options, const Cuts& cuts, const std::string& name) {
  if (cuts.count == 1) return {prompt_from(tokenizer, text, 0, options, name)};
  const auto count = static_cast<std::size_t>(cuts.count);
  const std::size_t around = detail::parts_of(tokenizer, text, options).around();
  const std::size_t tokens = naming(name, [&] { return tokenizer.encode(text, false).size(); });
  if (static_cast<std::size_t>(options.tokens) <= around || tokens < options.tokens - around)
    prompt_from(tokenizer, text, 0, options, name);  // throws, and says why: not even one fits
  const std::size_t used = options.tokens - around;
  const std::size_t about = text.size() * used / tokens, room = about + about / 16 + 1;  // bytes of a prompt
  if (room * count > text.size())
    fail("--prompts {}: {} has {} tokens, and each prompt takes {} of it: about {} fit", count, name, tokens, used,
         text.size() / room);
  std::mt19937_64 generator(cuts.seed);
  std::vector<std::uint64_t> places(count);
  for (auto& place : places) place = detail::draw_below(generator, text.size() - room * count + 1);
  std::ranges::sort(places);
  std::vector<Prompt> out;
  for (std::size_t i = 0, end = 0; i < count; ++i) {
    check_interrupt();
    const std::size_t from = detail::word_from(text, std::max<std::size_t>(end, places[i] + i * room));
    out.push_back(prompt_from(tokenizer, text, from, options, name));
    out.back().document_offset = from;
    end = from + detail::bytes_of_first(tokenizer, std::string_view(text).substr(from), used, about);
    for (std::size_t j = 0; j < i; ++j)
      if (out[j].token_ids == out[i].token_ids)
        fail("--prompts {}: those of {} from byte {} and {} on are alike: choose another --seed or document", count,
             name, *out[j].document_offset, from);
  }
  return out;
}

}  // namespace fpf::prompt
