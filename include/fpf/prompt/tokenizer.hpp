// The tokeniser: text -> token ids -> text, as the `tokenizers` package does it, id for id.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/utf8.hpp>
#include <fpf/prompt/added_tokens.hpp>
#include <fpf/prompt/bpe.hpp>
#include <fpf/prompt/byte_level.hpp>
#include <fpf/prompt/normalise.hpp>
#include <fpf/prompt/tokenizer_directory.hpp>
#include <fpf/prompt/tokenizer_json.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fpf::prompt {

/// A byte-level BPE tokeniser. Immutable once made, so that threads may share it.
class Tokenizer {
 public:
  /// Throws Error when a merge or an added token does not fit the vocabulary.
  static Tokenizer from_vocabulary(Vocabulary vocabulary) { return Tokenizer(std::move(vocabulary)); }

  /// A tokenizer.json file. Throws Error on what it cannot read, or would read differently, by name.
  static Tokenizer from_json_file(const std::filesystem::path& path) {
    Vocabulary vocabulary = read_tokenizer_json(path);
    return detail::reading(path, [&] { return Tokenizer(std::move(vocabulary)); });
  }

  /// A Hugging Face directory: tokenizer.json, and tokenizer_config.json and chat_template.jinja where they
  /// exist.
  static Tokenizer from_directory(const std::filesystem::path& folder) {
    Vocabulary vocabulary = read_tokenizer_directory(folder);
    return detail::reading(folder / "tokenizer.json", [&] { return Tokenizer(std::move(vocabulary)); });
  }

  /// The ids of a text; ill-formed UTF-8 is replaced first. With `special`, special tokens in the text are
  /// tokens (what a chat template needs: encode_special_tokens=False in `tokenizers`); without, they are
  /// plain text (documents; =True). No tokens are added around the text. A byte that the vocabulary has no
  /// token for gives its unknown token, or nothing if it has none.
  std::vector<std::int32_t> encode(std::string_view text, bool special) const {
    return encode_first(text, special, std::numeric_limits<std::size_t>::max());
  }

  /// The start of what encode() gives: at least `count` ids, or all of them. No more is merged than they need; each
  /// word is found with the whole text before the pattern's eyes, so that they are encode()'s whatever the pattern is.
  std::vector<std::int32_t> encode_first(std::string_view text, bool special, std::size_t count) const {
    const std::string clean = replace_invalid_utf8(text);
    std::vector<std::int32_t> ids;
    Merger merger(merges_);
    const auto put = [&](std::int32_t id) {
      ids.push_back(id);
      return ids.size() < count;
    };
    added_.for_each_piece(clean, special, [&](std::string_view piece, const AddedToken* token) {
      if (token != nullptr) return put(token->id);
      const std::string normalised = vocabulary_.nfc ? nfc(piece) : std::string(piece);
      return added_normalised_.for_each_piece(normalised, special, [&](std::string_view part, const AddedToken* inner) {
        if (inner != nullptr) return put(inner->id);
        return vocabulary_.pre_tokeniser.for_each_piece(part, [&](std::string_view word) {
          encode_word(word, merger, ids);
          return ids.size() < count;
        });
      });
    });
    return ids;
  }

  /// The text of ids; ids without a token give nothing, incomplete UTF-8 gives U+FFFD. Special tokens are
  /// kept.
  std::string decode(std::span<const std::int32_t> ids) const {
    std::string bytes;
    for (const std::int32_t id : ids) {
      if (id < 0 || static_cast<std::size_t>(id) >= vocabulary_.tokens.size()) continue;
      const std::string& token = vocabulary_.tokens[static_cast<std::size_t>(id)];
      bytes += byte_level_decode(token).value_or(token);
    }
    return replace_invalid_utf8(bytes);
  }

  /// One token's text, as decode() gives it.
  std::string token_text(std::int32_t id) const { return decode(std::span(&id, 1)); }

  /// One more than the highest id.
  std::size_t vocab_size() const { return vocabulary_.tokens.size(); }

  /// The id of a token as the vocabulary spells it (byte-level encoded; added tokens as they are).
  std::optional<std::int32_t> token_id(std::string_view token) const {
    const auto found = ids_.find(std::string(token));
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  static constexpr std::int32_t absent = -1;
  static constexpr std::size_t longest_word = std::size_t{1} << 20;  // merging takes some 40 times its bytes

  explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
    if (vocabulary_.tokens.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
      fail("the vocabulary has {} tokens: more than a 32-bit id can tell apart", vocabulary_.tokens.size());
    for (std::size_t id = 0; id < vocabulary_.tokens.size(); ++id)
      if (!vocabulary_.tokens[id].empty()) ids_.emplace(vocabulary_.tokens[id], static_cast<std::int32_t>(id));
    for (std::size_t byte = 0; byte < 256; ++byte)
      byte_ids_[byte] = token_id(byte_level_encode(static_cast<unsigned char>(byte))).value_or(absent);
    if (vocabulary_.unknown_token) unknown_ = required_id(*vocabulary_.unknown_token, "the unknown token");
    build_merges();
    for (const AddedToken& token : vocabulary_.added) add(token);
  }

  void build_merges() {
    if (vocabulary_.merges.empty()) fail("the vocabulary has no merges: expected a BPE vocabulary with its merges");
    merges_ = MergeTable(vocabulary_.merges.size());
    std::int32_t rank = 0;
    for (const std::string& merge : vocabulary_.merges) {
      const std::size_t space = merge.find(' ');
      if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos)
        fail("merge {} of the vocabulary is \"{}\": expected two tokens with one space between", rank, merge);
      const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
      merges_.insert(required_id(left, "a merge's token"), required_id(right, "a merge's token"),
                     {rank, required_id(left + right, "a merge's result")});
      ++rank;
    }
  }

  void add(const AddedToken& token) {
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= vocabulary_.tokens.size() ||
        vocabulary_.tokens[static_cast<std::size_t>(token.id)] != token.content)
      fail("added token \"{}\" has id {}, where the vocabulary does not have it", token.content, token.id);
    if (token.content.empty()) return;
    if (!token.normalised) return added_.add(token);
    AddedToken normalised = token;
    if (vocabulary_.nfc) normalised.content = nfc(token.content);
    added_normalised_.add(std::move(normalised));
  }

  std::int32_t required_id(std::string_view token, std::string_view what) const {
    const auto id = token_id(token);
    if (!id) fail("{} \"{}\" is not in the vocabulary of {} tokens", what, token, vocabulary_.tokens.size());
    return *id;
  }

  void encode_word(std::string_view word, Merger& merger, std::vector<std::int32_t>& ids) const {
    if (word.size() > longest_word)
      fail("a stretch of {} bytes without a place to part it (\"{:.20}...\"): expected words of at most {} bytes",
           word.size(), word, longest_word);
    if (vocabulary_.ignore_merges) {
      if (const auto id = token_id(byte_level_encode(word))) return ids.push_back(*id);
    }
    std::vector<std::int32_t> tokens;
    bool after_unknown = false;
    for (const char byte : word) {
      const std::int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
      if (id != absent) {
        tokens.push_back(id);
      } else if (unknown_ && !(after_unknown && vocabulary_.fuse_unknown)) {
        tokens.push_back(*unknown_);
      }
      after_unknown = id == absent;
    }
    merger(tokens);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }

  Vocabulary vocabulary_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::array<std::int32_t, 256> byte_ids_{};
  std::optional<std::int32_t> unknown_;
  MergeTable merges_;
  AddedTokens added_, added_normalised_;
};

}  // namespace fpf::prompt
