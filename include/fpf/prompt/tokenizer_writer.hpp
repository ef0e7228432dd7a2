// The tokeniser of a GGUF file as a Hugging Face directory has it: tokenizer.json and tokenizer_config.json,
// from which the `tokenizers` package gives the same ids.
#pragma once

#include <fpf/core/error.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fpf::prompt {

namespace detail {

/// The pre_tokenizer of tokenizer.json for one that GGUF knows by name. Throws Error for others.
inline nlohmann::json pre_tokenizer_json(std::string_view name) {
  const auto byte_level = [](bool use_regex) {
    return nlohmann::json{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
  };
  const auto sequence = [](nlohmann::json first, nlohmann::json second) {
    return nlohmann::json{{"type", "Sequence"},
                          {"pretokenizers", nlohmann::json::array({std::move(first), std::move(second)})}};
  };
  const auto split = [](std::string_view pattern) {
    return nlohmann::json{
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  if (name == "gpt2" || name == "gpt-2") return byte_level(true);
  if (name == "smollm") return sequence({{"type", "Digits"}, {"individual_digits", true}}, byte_level(true));
  if (name == "qwen2") return sequence(split(patterns::qwen2), byte_level(false));
  if (name == "llama3" || name == "llama-bpe") return sequence(split(patterns::llama3), byte_level(false));
  fail("unsupported pre-tokeniser \"{}\": expected gpt2, smollm, qwen2 or llama3", name);
}

inline nlohmann::json added_token_json(const AddedToken& token) {
  return {{"id", token.id},
          {"content", token.content},
          {"single_word", false},
          {"lstrip", token.strip_left},
          {"rstrip", token.strip_right},
          {"normalized", token.normalised},
          {"special", token.special}};
}

/// What is put around every text by callers that ask for special tokens. Throws Error where it is unknown.
inline nlohmann::json post_processor_json(const Vocabulary& vocabulary) {
  const Surrounding& around = vocabulary.surrounding;
  if (!around.unknown.empty()) fail("{}", around.unknown);
  if (around.before.empty() && around.after.empty()) return nullptr;
  nlohmann::json tokens = nlohmann::json::object();
  const auto piece = [&](std::int32_t id, int type) -> nlohmann::json {
    const std::string& token = vocabulary.tokens.at(static_cast<std::size_t>(id));
    tokens[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto template_of = [&](bool pair) {
    nlohmann::json out = nlohmann::json::array();
    for (int type = 0; type <= (pair ? 1 : 0); ++type) {
      for (const std::int32_t id : around.before) out.push_back(piece(id, type));
      out.push_back({{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}});
      for (const std::int32_t id : around.after) out.push_back(piece(id, type));
    }
    return out;
  };
  nlohmann::json single = template_of(false), pair = template_of(true);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace detail

/// tokenizer.json for the tokeniser of a GGUF file. Throws Error where vocabulary_of() does.
inline nlohmann::json tokenizer_json(const weights::GgufMetadata& metadata) {
  const Vocabulary vocabulary = vocabulary_of(metadata);
  const auto pre = metadata.get<std::string>("tokenizer.ggml.pre");
  nlohmann::json ids = nlohmann::json::object();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
    if (!vocabulary.tokens[id].empty()) ids[vocabulary.tokens[id]] = id;
  nlohmann::json added = nlohmann::json::array();
  for (const AddedToken& token : vocabulary.added) added.push_back(detail::added_token_json(token));
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", vocabulary.nfc ? nlohmann::json{{"type", "NFC"}} : nlohmann::json()},
          {"pre_tokenizer", detail::pre_tokenizer_json(pre)},
          {"post_processor", detail::post_processor_json(vocabulary)},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", vocabulary.ignore_merges},
            {"vocab", ids},
            {"merges", vocabulary.merges}}}};
}

/// tokenizer_config.json beside it: begin, end and padding tokens, and the chat template.
inline nlohmann::json tokenizer_config_json(const weights::GgufMetadata& metadata) {
  const Vocabulary vocabulary = vocabulary_of(metadata);
  nlohmann::json out = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  for (const SpecialToken& token : special_tokens)
    if (metadata.contains(token.gguf)) {
      const auto id = metadata.get<std::uint32_t>(token.gguf);
      if (id >= vocabulary.tokens.size())
        fail("{} is {}: the vocabulary has {} tokens", token.gguf, id, vocabulary.tokens.size());
      out[token.text] = vocabulary.tokens[id];
    }
  if (!vocabulary.chat_template.empty()) out["chat_template"] = vocabulary.chat_template;
  return out;
}

}  // namespace fpf::prompt
