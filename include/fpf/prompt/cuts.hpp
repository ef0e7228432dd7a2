// Several prompts of one document or more: cuts of their texts at places drawn by a seed, none overlapping another.
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

/// A document's text, and its path.
struct Document {
  std::string name, text;
};

/// How many prompts to make of documents, and where: with one, of the beginning.
struct Cuts {
  std::int64_t count = 1;
  std::uint64_t seed = 0;
};

namespace detail {

/// A whole number below `limit`, each equally likely: a draw of a generator whose range is no multiple of it is made
/// again.
inline std::uint64_t draw_below(std::mt19937_64& generator, std::uint64_t limit) {
  constexpr std::uint64_t most = std::mt19937_64::max();
  std::uint64_t out = generator();
  while (out >= most - most % limit) out = generator();
  return out % limit;
}

/// Where a word begins, at `from` or behind it: behind the first white space, or, in scripts without, the next
/// character.
inline std::size_t word_from(std::string_view text, std::size_t from) {
  constexpr std::size_t longest_word = 256;
  const std::size_t space =
      from == 0 ? 0 : text.substr(0, std::min(text.size(), from + longest_word)).find_first_of(" \t\r\n", from);
  std::size_t out = space == std::string_view::npos ? from : space;
  while (out < text.size() && (static_cast<unsigned char>(text[out]) & 0xc0) == 0x80) ++out;
  return out + leading_space(text.substr(out));
}

/// Bytes at the beginning of `text` that hold its first `tokens` tokens, at most a 32nd of `about` more than they
/// take.
inline std::size_t bytes_of_first(const Tokenizer& tokenizer, std::string_view text, std::size_t tokens,
                                  std::size_t about) {
  for (std::size_t bytes = about - about / 4; bytes < text.size(); bytes += about / 32 + 1)
    if (tokenizer.encode_first(text.substr(0, bytes), false, tokens + 1).size() > tokens) return bytes;
  return text.size();
}

/// A document as room for prompts.
struct Room {
  const Document* document = nullptr;
  std::string sha256;                  // of its text, in hexadecimal
  std::size_t tokens = 0, used = 0;    // its own, and those that a prompt takes
  std::size_t about = 0, a_place = 0;  // bytes of a prompt, and with what is kept free behind it

  std::size_t places() const { return document->text.size() / a_place; }
};

inline Prompt prompt_at(const Tokenizer& tokenizer, const Document& document, const std::string& sha256,
                        std::size_t offset, const PromptOptions& options) {
  const auto& [name, text] = document;
  if (offset >= text.size()) fail("{} has {} bytes of text: expected one from byte {} on", name, text.size(), offset);
  const std::string where = offset == 0 ? name : fmt::format("{} from byte {} on", name, offset);
  const std::size_t ahead = offset == 0 ? tokens_ahead : 0;  // those of a document are counted once
  Prompt out = make_prompt(tokenizer, std::string_view(text).substr(offset), options, where, ahead);
  out.document_sha256 = sha256;
  return out;
}

/// Throws Error where not even one prompt fits.
inline Room room_of(const Tokenizer& tokenizer, const Document& document, const PromptOptions& options) {
  Room out{.document = &document, .sha256 = sha256_hex(document.text)};
  const std::size_t around = parts_of(tokenizer, document.text, options).around();
  out.tokens = naming(document.name, [&] { return tokenizer.encode(document.text, false).size(); });
  const auto whole = static_cast<std::size_t>(options.tokens);
  if (whole <= around || out.tokens < whole - around)
    prompt_at(tokenizer, document, out.sha256, 0, options);  // throws, and says why
  out.used = whole - around;
  out.about = document.text.size() * out.used / out.tokens;
  out.a_place = out.about + out.about / 16 + 1;
  return out;
}

/// Throws Error unless `count` prompts fit into the documents, of which no two are alike, and one into each.
inline void require_room(const std::vector<Room>& rooms, std::size_t count) {
  std::size_t places = 0;
  for (const Room& one : rooms) {
    places += one.places();
    if (one.places() < (rooms.size() == 1 ? count : 1))
      fail("--prompts {}: {} has {} tokens, and each prompt takes {} of it: about {} fit", count, one.document->name,
           one.tokens, one.used, one.places());
    for (const Room* other = rooms.data(); other != &one; ++other)
      if (other->sha256 == one.sha256)
        fail("--prompts {}: {} and {} have the same text: expected different documents", count, other->document->name,
             one.document->name);
  }
  if (places < count)
    fail("--prompts {}: each prompt takes {} tokens of a document, and about {} fit into these {}", count,
         rooms.front().used, places, rooms.size());
}

/// How many prompts each document gives. One gives all, and nothing is drawn; of several each prompt's is drawn, each
/// place that is left being equally likely.
inline std::vector<std::size_t> draw_documents(std::mt19937_64& generator, const std::vector<Room>& rooms,
                                               std::size_t count) {
  std::vector<std::size_t> out(rooms.size());
  if (rooms.size() == 1) return {count};
  std::size_t left = 0;
  for (const Room& one : rooms) left += one.places();
  for (std::size_t i = 0; i < count; ++i, --left) {
    std::size_t drawn = draw_below(generator, left), document = 0;
    const auto free = [&] { return rooms[document].places() - out[document]; };
    for (; drawn >= free(); ++document) drawn -= free();
    ++out[document];
  }
  return out;
}

/// Bytes of a document's text at which `count` prompts begin, less what those before them take: ascending.
inline std::vector<std::uint64_t> draw_places(std::mt19937_64& generator, const Room& room, std::size_t count) {
  std::vector<std::uint64_t> out(count);
  for (auto& place : out) place = draw_below(generator, room.document->text.size() - room.a_place * count + 1);
  std::ranges::sort(out);
  return out;
}

}  // namespace detail

/// The prompt of a document's text from a byte on, which is stated in it. Throws Error as make_prompt() does.
inline Prompt prompt_from(const Tokenizer& tokenizer, const Document& document, std::size_t offset,
                          const PromptOptions& options) {
  return detail::prompt_at(tokenizer, document, sha256_hex(document.text), offset, options);
}

/// Prompts of exactly options.tokens tokens each, of parts of the documents that do not overlap, in their order. With
/// one, of the beginning of the only document. With more, std::mt19937_64(seed) draws: of several documents first how
/// many prompts each gives, then document by document places, each equally likely among those that leave room for all;
/// each prompt begins at the first word behind its place and behind the prompt before it. Throws Error as make_prompt()
/// does, and when they do not fit, or two documents or prompts are alike; and Interrupted.
inline std::vector<Prompt> cut_prompts(const Tokenizer& tokenizer, const std::vector<Document>& documents,
                                       const PromptOptions& options, const Cuts& cuts) {
  if (cuts.count == 1) return {prompt_from(tokenizer, documents.front(), 0, options)};
  const auto count = static_cast<std::size_t>(cuts.count);
  std::vector<detail::Room> rooms;
  for (const Document& one : documents) {
    rooms.push_back(detail::room_of(tokenizer, one, options));
    check_interrupt();
  }
  detail::require_room(rooms, count);
  std::mt19937_64 generator(cuts.seed);
  const auto shares = detail::draw_documents(generator, rooms, count);
  std::vector<Prompt> out;
  std::vector<std::string> where;  // each begins
  for (std::size_t d = 0; d < rooms.size(); ++d) {
    const auto& [name, text] = documents[d];
    const auto places = detail::draw_places(generator, rooms[d], shares[d]);
    for (std::size_t i = 0, end = 0; i < shares[d]; ++i) {
      check_interrupt();
      const std::size_t from = detail::word_from(text, std::max<std::size_t>(end, places[i] + i * rooms[d].a_place));
      out.push_back(detail::prompt_at(tokenizer, documents[d], rooms[d].sha256, from, options));
      out.back().document_offset = from;
      where.push_back(fmt::format("{} from byte {} on", name, from));
      end = from +
            detail::bytes_of_first(tokenizer, std::string_view(text).substr(from), rooms[d].used, rooms[d].about);
      for (std::size_t j = 0; j + 1 < out.size(); ++j)
        if (out[j].token_ids == out.back().token_ids)
          fail("--prompts {}: those of {} and of {} are alike: choose another --seed or document", count, where[j],
               where.back());
    }
  }
  return out;
}

}  // namespace fpf::prompt
