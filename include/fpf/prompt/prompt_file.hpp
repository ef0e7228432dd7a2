// Prompts as JSON files: what make_prompt writes and --prompt-ids reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/prompt/prompt.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fpf::prompt {

/// Where a prompt came from; for people, nothing reads it back.
struct PromptOrigin {
  std::string document;   // path as given
  std::string tokenizer;  // path as given
  PromptOptions options;
};

/// How a prompt came about, for a manifest: {"source": "document" or "ids", "template_renderer", "template_sha256",
/// "template_date", "thinking", "special_tokens_added"}; null where there is none, and all but the source where the ids
/// were given.
inline nlohmann::ordered_json describe_prompt(const Prompt& prompt) {
  const bool given = prompt.template_renderer.empty();
  const auto text = [](const std::string& value) {
    return value.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(value);
  };
  nlohmann::ordered_json out = {{"source", given ? "ids" : "document"},
                                {"template_renderer", text(prompt.template_renderer)},
                                {"template_sha256", text(prompt.template_sha256)},
                                {"template_date", text(prompt.template_date)},
                                {"thinking", nullptr},
                                {"special_tokens_added", nullptr}};
  if (given) return out;
  out["thinking"] = prompt.thinking;
  out["special_tokens_added"] = prompt.special_tokens;
  return out;
}

/// The file's text: {"prompt_token_ids", "prompt_sha256", "prompt_tokens", "prompt_text"} and its origin.
inline std::string prompt_json(const Prompt& prompt, const PromptOrigin& origin) {
  nlohmann::ordered_json json;
  json["prompt_tokens"] = prompt.token_ids.size();
  json["prompt_sha256"] = prompt.sha256;
  json["document"] = {{"path", origin.document},
                      {"text_sha256", prompt.document_sha256},
                      {"tokens", nullptr},
                      {"tokens_used", prompt.document_tokens_used}};
  if (prompt.document_tokens != 0) json["document"]["tokens"] = prompt.document_tokens;
  json["tokenizer"] = origin.tokenizer;
  json["request"] = origin.options.request;
  json["chat_template"] = origin.options.chat_template;
  json["thinking"] = origin.options.thinking;
  json["add_special_tokens"] = origin.options.add_special_tokens;
  const auto how = describe_prompt(prompt);
  for (const char* key : {"template_renderer", "template_sha256", "template_date", "special_tokens_added"})
    json[key] = how[key];
  json["prompt_text"] = prompt.text;
  json["prompt_token_ids"] = prompt.token_ids;
  // A path or a request may be no UTF-8; the prompt's own text always is.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

/// Writes the file, whole or not at all.
inline void write_prompt_file(const std::filesystem::path& path, const Prompt& prompt, const PromptOrigin& origin) {
  AtomicFile file(path);
  file.append(prompt_json(prompt, origin));
  file.commit();
}

/// A JSON array of ids, or that or a prompt's object, which make_prompt writes.
enum class IdForms : std::uint8_t { array, any };

/// Reads token ids, as they are: a JSON array of them, or (of any form) a file that make_prompt wrote, whose digest
/// must fit. `text` is the file's or empty; the document's counts are zero. Throws Error when the file is neither,
/// has no ids, or an id is no integer from 0 to 2^31 - 1.
inline Prompt read_prompt_ids(const std::filesystem::path& path, IdForms forms = IdForms::any) {
  const MappedFile file(path);
  const std::string name = path.string();
  refuse_git_lfs_pointer(file.text(), name);
  const auto json = parse_json(file.text(), JsonRules{}, [&](JsonFault fault, const std::string& what) {
    if (fault != JsonFault::syntax) fail("{} {}", name, what);
    fail("{} is not JSON: expected an array of token ids, or a file of make_prompt", name);
  });
  const bool bare = json.is_array();
  if (!bare && forms == IdForms::array)
    fail("{} is no JSON array of token ids{}", name,
         json.is_object() ? ": an object, such as a prompt's with its prompt_token_ids, is none" : "");
  if (!bare && !(json.is_object() && json.contains("prompt_token_ids") && json["prompt_token_ids"].is_array()))
    fail("{} has no token ids: expected a JSON array, or an object with prompt_token_ids", name);
  Prompt out;
  for (const auto& id : bare ? json : json["prompt_token_ids"]) {
    constexpr auto largest = std::numeric_limits<std::int32_t>::max();
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > static_cast<std::uint64_t>(largest))
      fail("{}: token id number {} is {}, expected an integer from 0 to {}", name, out.token_ids.size(), id.dump(),
           largest);
    out.token_ids.push_back(id.get<std::int32_t>());
  }
  if (out.token_ids.empty()) fail("{} has no token ids: the array is empty", name);
  out.sha256 = prompt_sha256(out.token_ids);
  if (bare) return out;
  if (const auto sha256 = json.find("prompt_sha256"); sha256 != json.end() && *sha256 != out.sha256)
    fail("{}: prompt_sha256 is {}, expected {}, the digest of its ids", name, sha256->dump(), out.sha256);
  if (const auto text = json.find("prompt_text"); text != json.end() && text->is_string()) out.text = *text;
  return out;
}

}  // namespace fpf::prompt
