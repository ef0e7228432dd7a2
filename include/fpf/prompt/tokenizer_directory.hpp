// A tokeniser as a Hugging Face directory has it: tokenizer.json, and what transformers 5 reads beside it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/prompt/tokenizer_json.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

namespace detail {

/// transformers' SPECIAL_TOKENS_ATTRIBUTES: what apply_chat_template passes to a template by name.
inline constexpr std::array token_names{"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};

// A token is a string or {"content": string}; anything else (null, true) names none.
inline std::optional<std::string> token_content(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return std::nullopt;
}

// Every *_token of a file, and the named ones of extra_special_tokens; null takes a name away.
inline void read_named_tokens(const nlohmann::json& config, Vocabulary& vocabulary) {
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token")) continue;
    if (const auto content = token_content(value))
      vocabulary.named_tokens[key] = *content;
    else
      vocabulary.named_tokens.erase(key);
  }
  if (const auto extra = config.find("extra_special_tokens"); extra != config.end() && extra->is_object())
    for (const auto& [key, value] : extra->items())
      if (const auto content = token_content(value)) vocabulary.named_tokens[key] = *content;
}

// What a class of transformers 5.24 says where the file does not; of classes without defaults of their own nothing is
// added, and of those that are not known here (or not named: config.json decides then), the names are unknown.
inline void add_class_defaults(std::string name, const nlohmann::json& config, Vocabulary& vocabulary) {
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const auto given = [&](const char* key) { return config.contains(key); };
  const auto set = [&](const char* key, const char* token) {
    if (!given(key)) vocabulary.named_tokens[key] = token;
  };
  if (name == "PreTrainedTokenizer" || name == "TokenizersBackend") return;
  if (name == "GPT2Tokenizer" || name == "Qwen2Tokenizer") {
    set("unk_token", "<|endoftext|>");
    set("eos_token", "<|endoftext|>");
    if (name == "GPT2Tokenizer") set("bos_token", "<|endoftext|>");
    if (name == "Qwen2Tokenizer") set("pad_token", "<|endoftext|>");
    return;
  }
  for (const char* key : token_names)
    if (!given(key)) vocabulary.unknown_names.emplace_back(key);
}

// The id of a named token, where it is one of the added tokens.
inline std::optional<std::int32_t> named_id(const Vocabulary& vocabulary, const char* name) {
  const auto named = vocabulary.named_tokens.find(name);
  if (named == vocabulary.named_tokens.end()) return std::nullopt;
  const auto found = std::ranges::find(vocabulary.added, named->second, &AddedToken::content);
  if (found == vocabulary.added.end()) return std::nullopt;
  return found->id;
}

// A template is a string, or a list of {"name", "template"} with one named default.
inline std::string configured_template(const nlohmann::json& config) {
  if (!config.contains("chat_template") || config["chat_template"].is_null()) return {};
  const nlohmann::json& value = config["chat_template"];
  if (value.is_string()) return value;
  for (const nlohmann::json& entry : value)
    if (entry.at("name") == "default") return entry.at("template");
  return {};
}

// The default template among files, which win over the configuration's: chat_template.jinja, and those of the folder
// additional_chat_templates by name. Nothing where there is no such file.
inline std::optional<std::string> template_file(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const auto read = [](const fs::path& path) {
    const MappedFile file(path);
    refuse_git_lfs_pointer(file.text(), path.string());
    return std::string(file.text());
  };
  const fs::path others = folder / "additional_chat_templates";
  if (fs::exists(others / "default.jinja")) return read(others / "default.jinja");
  if (fs::exists(folder / "chat_template.jinja")) return read(folder / "chat_template.jinja");
  if (!fs::is_directory(others)) return std::nullopt;
  for (const auto& entry : fs::directory_iterator(others))
    if (entry.path().extension() == ".jinja") return std::string();  // several, none of them default
  return std::nullopt;
}

}  // namespace detail

/// Reads a Hugging Face directory: tokenizer.json, and where they exist tokenizer_config.json, special_tokens_map.json
/// (of older files: it wins unless the configuration lists the added tokens itself) and the template's files.
/// Throws Error naming the file and what is wrong in it.
inline Vocabulary read_tokenizer_directory(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) fail("{} is not a directory", folder.string());
  const auto file = folder / "tokenizer.json", config_file = folder / "tokenizer_config.json",
             map_file = folder / "special_tokens_map.json";
  if (!std::filesystem::exists(file)) fail("{} has no tokenizer.json", folder.string());
  Vocabulary out = read_tokenizer_json(file);
  nlohmann::json config = nlohmann::json::object();
  if (std::filesystem::exists(config_file)) config = read_json(config_file);
  detail::reading(config_file, [&] {
    if (!config.is_object()) fail("expected an object");
    detail::read_named_tokens(config, out);
    const auto& named = member_or_null(config, "tokenizer_class");
    const std::string name = named.is_null() ? "" : named.get<std::string>();
    detail::add_class_defaults(name, config, out);
    if (name.starts_with("GPTNeoXTokenizer")) out.surrounding = {};  // the class makes its own post-processor
    out.chat_template = detail::configured_template(config);
  });
  if (!config.contains("added_tokens_decoder") && std::filesystem::exists(map_file)) {
    const nlohmann::json map = read_json(map_file);
    detail::reading(map_file, [&] {
      if (!map.is_object()) fail("expected an object");
      detail::read_named_tokens(map, out);
      std::erase_if(out.unknown_names, [&](const std::string& name) { return map.contains(name); });
    });
  }
  out.bos_id = detail::named_id(out, "bos_token");
  out.eos_id = detail::named_id(out, "eos_token");
  if (auto from_file = detail::template_file(folder)) out.chat_template = std::move(*from_file);
  return out;
}

}  // namespace fpf::prompt
