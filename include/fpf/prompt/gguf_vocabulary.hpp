// The tokeniser of a GGUF file: tokenizer.ggml.* and tokenizer.chat_template (docs/gguf.md in ggml) ->
// Vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/git_lfs.hpp>
#include <fpf/core/hub_name.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/prompt/tokenizer.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <fpf/weights/gguf.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace fpf::prompt {

/// A token with a task of its own: where GGUF keeps its id, and what Hugging Face's files call it.
struct SpecialToken {
  const char* gguf;  // key of the id
  const char* id;    // in config.json and generation_config.json; nullptr where they do not name it
  const char* text;  // in tokenizer_config.json
};

inline constexpr SpecialToken begin_token{"tokenizer.ggml.bos_token_id", "bos_token_id", "bos_token"},
    end_token{"tokenizer.ggml.eos_token_id", "eos_token_id", "eos_token"};
inline constexpr std::array special_tokens{
    begin_token, end_token, SpecialToken{"tokenizer.ggml.unknown_token_id", nullptr, "unk_token"},
    SpecialToken{"tokenizer.ggml.padding_token_id", "pad_token_id", "pad_token"}};

namespace detail {

/// What llama.cpp puts around a text with its add_special: the keys' word, or a begin token for Llama 3's pre-tokeniser
/// and nothing for the others (llama-vocab.cpp).
inline Surrounding gguf_surrounding(const weights::GgufMetadata& metadata, const Vocabulary& vocabulary) {
  Surrounding out;
  const auto add = [&](const char* key, bool fallback, const std::optional<std::int32_t>& id, const SpecialToken& token,
                       std::vector<std::int32_t>& to) {
    if (!metadata.get_or(key, fallback)) return;
    if (id && *id >= 0 && static_cast<std::size_t>(*id) < vocabulary.tokens.size()) return to.push_back(*id);
    out.unknown = fmt::format("{} asks for the {} around a text, of which {} names no token of the vocabulary",
                              metadata.contains(key) ? key : "the pre-tokeniser", token.text, token.gguf);
  };
  add("tokenizer.ggml.add_bos_token", vocabulary.ignore_merges, vocabulary.bos_id, begin_token, out.before);
  add("tokenizer.ggml.add_eos_token", false, vocabulary.eos_id, end_token, out.after);
  return out;
}

}  // namespace detail

/// Converts GGUF metadata. Throws Error when the tokeniser is no byte-level BPE ("gpt2" in GGUF's words), its
/// pre-tokeniser is unknown, or a part is missing. Choices GGUF leaves to its reader are those of the models'
/// tokenizer.json: NFC for qwen2, ignore_merges for llama3, and bytes without a token are dropped (the file's
/// unknown_token_id comes from the model's configuration, not from its BPE).
inline Vocabulary vocabulary_of(const weights::GgufMetadata& metadata) {
  if (const auto model = metadata.get<std::string>("tokenizer.ggml.model"); model != "gpt2")
    fail("unsupported tokeniser \"{}\" in tokenizer.ggml.model: expected gpt2 (byte-level BPE)", model);
  Vocabulary out;
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"})
    if (const auto count = metadata.strings(key).size(); count > static_cast<std::size_t>(most_tokens))
      fail("{} has {} entries: expected at most {}", key, count, most_tokens);
  for (const std::string_view token : metadata.strings("tokenizer.ggml.tokens")) out.tokens.emplace_back(token);
  for (const std::string_view merge : metadata.strings("tokenizer.ggml.merges")) out.merges.emplace_back(merge);

  const auto& types = metadata.integers("tokenizer.ggml.token_type");
  if (types.size() != out.tokens.size())
    fail("tokenizer.ggml.token_type has {} entries: expected one for each of the {} tokens", types.size(),
         out.tokens.size());
  constexpr std::int64_t control = 3, user_defined = 4;  // llama_token_type
  for (std::size_t id = 0; id < types.size(); ++id)
    if (types[id] == control || types[id] == user_defined)
      out.added.push_back(
          {.id = static_cast<std::int32_t>(id), .content = out.tokens[id], .special = types[id] == control});

  const auto pre = metadata.get<std::string>("tokenizer.ggml.pre");
  out.pre_tokeniser = pre_tokeniser_named(pre);
  out.nfc = pre == "qwen2";
  out.ignore_merges = pre == "llama-bpe" || pre == "llama3";
  const auto id_of = [&](std::string_view key) -> std::optional<std::int32_t> {
    if (!metadata.contains(key)) return std::nullopt;
    return metadata.get<std::int32_t>(key);
  };
  out.bos_id = id_of(begin_token.gguf);
  out.eos_id = id_of(end_token.gguf);
  for (const SpecialToken& token : special_tokens)
    if (const auto id = id_of(token.gguf); id && *id >= 0 && static_cast<std::size_t>(*id) < out.tokens.size())
      out.named_tokens[token.text] = out.tokens[static_cast<std::size_t>(*id)];
  out.surrounding = detail::gguf_surrounding(metadata, out);
  out.chat_template = metadata.get_or<std::string>("tokenizer.chat_template", "");
  return out;
}

/// The tokeniser at a path: a Hugging Face directory, a tokenizer.json or a GGUF file.
/// Throws Error when it is none of them, or for the reasons of vocabulary_of() and read_tokenizer_json().
inline Tokenizer open_tokenizer(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return Tokenizer::from_directory(path);
  if (path.extension() == ".json") return Tokenizer::from_json_file(path);
  if (std::filesystem::is_regular_file(path)) refuse_git_lfs_pointer(MappedFile(path).text(), path.string());
  if (!weights::GgufFile::is_gguf(path))
    fail("{} is no tokeniser: expected a Hugging Face directory, a tokenizer.json or a GGUF file{}", path.string(),
         hub_hint(path.string()));
  const weights::GgufFile file(path);
  return detail::reading(path, [&] { return Tokenizer::from_vocabulary(vocabulary_of(file.metadata())); });
}

}  // namespace fpf::prompt
