// tokenizer.json of the `tokenizers` package (Hugging Face) -> Vocabulary. What fpf would read differently
// from that package is refused by name; truncation and padding belong to callers and are not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <fpf/prompt/post_processor.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace fpf::prompt {

namespace detail {

inline std::string type_of(const nlohmann::json& component) {
  return component.is_null() ? "null" : component.value("type", "(no type)");
}

// Runs visit on a component, or on each part of one of type Sequence.
template <class Visit>
void for_each_component(const nlohmann::json& component, const char* parts, Visit&& visit) {
  if (component.is_null()) return;
  if (type_of(component) != "Sequence") return visit(component);
  for (const nlohmann::json& part : component.at(parts)) for_each_component(part, parts, visit);
}

inline SplitStep read_split(const nlohmann::json& split) {
  const nlohmann::json& pattern = split.at("pattern");
  if (!pattern.contains("Regex")) fail("unsupported pre-tokeniser Split: its pattern is no Regex");
  const std::string behaviour = split.at("behavior");
  const bool removed = behaviour == "Removed", inverted = split.value("invert", false);
  if (!removed && behaviour != "Isolated")
    fail("unsupported pre-tokeniser Split: behaviour {}, expected Isolated or Removed", behaviour);
  return {Regex(pattern.at("Regex").get<std::string>()), !removed   ? SplitStep::Keep::everything
                                                         : inverted ? SplitStep::Keep::matches
                                                                    : SplitStep::Keep::gaps};
}

inline PreTokeniser read_pre_tokeniser(const nlohmann::json& component) {
  PreTokeniser out;
  bool byte_level = false;
  for_each_component(component, "pretokenizers", [&](const nlohmann::json& step) {
    const std::string type = type_of(step);
    if (byte_level) fail("unsupported pre-tokeniser: {} after ByteLevel", type);
    if (type == "Split") {
      out.splits.push_back(read_split(step));
    } else if (type == "Digits") {
      out.splits.push_back(digits(step.value("individual_digits", false)));
    } else if (type == "ByteLevel") {
      byte_level = true;
      out.prefix_space = step.value("add_prefix_space", true);
      out.prefix_space_before = out.splits.size();
      if (step.value("use_regex", true)) out.splits.push_back({Regex(patterns::gpt2)});
    } else {
      fail("unsupported pre-tokeniser {}: expected Split, Digits, ByteLevel or a Sequence of them", type);
    }
  });
  if (!byte_level) fail("unsupported pre-tokeniser {}: expected a ByteLevel step", type_of(component));
  return out;
}

inline bool read_normaliser(const nlohmann::json& component) {
  bool nfc = false;
  for_each_component(component, "normalizers", [&](const nlohmann::json& step) {
    if (type_of(step) != "NFC") fail("unsupported normaliser {}: expected NFC or none", type_of(step));
    nfc = true;
  });
  return nfc;
}

inline void check_decoder(const nlohmann::json& component) {
  bool byte_level = false;
  for_each_component(component, "decoders", [&](const nlohmann::json& step) {
    if (type_of(step) != "ByteLevel") fail("unsupported decoder {}: expected ByteLevel", type_of(step));
    byte_level = true;
  });
  if (!byte_level) fail("unsupported decoder {}: expected ByteLevel", type_of(component));
}

// A token at its id, which must be free or hold the same token.
inline void put_token(Vocabulary& vocabulary, const std::string& token, std::int64_t id) {
  if (id < 0 || id >= most_tokens) fail("token \"{}\" has id {}: expected 0 to {}", token, id, most_tokens - 1);
  const auto place = static_cast<std::size_t>(id);
  if (place >= vocabulary.tokens.size()) vocabulary.tokens.resize(place + 1);
  std::string& held = vocabulary.tokens[place];
  if (!held.empty() && held != token) fail("tokens \"{}\" and \"{}\" have the same id {}", held, token, id);
  held = token;
}

inline void read_model(const nlohmann::json& model, Vocabulary& vocabulary) {
  if (model.value("type", "BPE") != "BPE") fail("unsupported model {}: expected BPE", type_of(model));
  for (const char* option : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
    if (model.contains(option) && !model[option].is_null() && model[option] != "")
      fail("unsupported BPE option {}: {}, expected null", option, model[option].dump());
  if (model.value("byte_fallback", false)) fail("unsupported BPE option byte_fallback: true, expected false");
  if (!model.contains("vocab")) fail("the BPE model has no vocab");
  if (!model.contains("merges")) fail("the BPE model has no merges");
  for (const auto& [token, id] : model["vocab"].items()) put_token(vocabulary, token, json_as<std::int64_t>(id));
  for (const nlohmann::json& merge : model["merges"])  // "left right", or [left, right] in newer files
    vocabulary.merges.push_back(merge.is_string()
                                    ? merge.get<std::string>()
                                    : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
  if (model.contains("unk_token") && !model["unk_token"].is_null()) vocabulary.unknown_token = model["unk_token"];
  vocabulary.fuse_unknown = model.value("fuse_unk", false);
  vocabulary.ignore_merges = model.value("ignore_merges", false);
}

inline void read_added_token(const nlohmann::json& token, Vocabulary& vocabulary) {
  AddedToken added;
  added.id = json_as<std::int32_t>(token.at("id"));
  added.content = token.at("content");
  added.special = token.value("special", false);
  added.normalised = token.value("normalized", true);
  added.strip_left = token.value("lstrip", false);
  added.strip_right = token.value("rstrip", false);
  if (token.value("single_word", false)) fail("unsupported flag single_word of added token \"{}\"", added.content);
  put_token(vocabulary, added.content, added.id);
  vocabulary.added.push_back(std::move(added));
}

// Runs read; an error in it gets the file's name in front, unless it has it already.
template <class Read>
auto reading(const std::filesystem::path& path, Read&& read) {
  return naming(path.string(), [&] {
    try {
      return read();
    } catch (const nlohmann::json::exception& error) {
      fail("{} is not laid out as expected: {}", path.string(), error.what());
    }
  });
}

}  // namespace detail

/// Reads tokenizer.json. Throws Error naming the file and what is unsupported or damaged in it.
inline Vocabulary read_tokenizer_json(const std::filesystem::path& path) {
  const nlohmann::json json = read_json(path);
  return detail::reading(path, [&] {
    if (!json.is_object() || !json.contains("model")) fail("expected an object with a model");
    Vocabulary out;
    detail::read_model(json["model"], out);
    if (json.contains("added_tokens"))
      for (const auto& token : json["added_tokens"]) detail::read_added_token(token, out);
    out.nfc = detail::read_normaliser(json.value("normalizer", nlohmann::json()));
    out.pre_tokeniser = detail::read_pre_tokeniser(json.value("pre_tokenizer", nlohmann::json()));
    detail::check_decoder(json.value("decoder", nlohmann::json()));
    out.surrounding = read_post_processor(json.value("post_processor", nlohmann::json()));
    return out;
  });
}

}  // namespace fpf::prompt
