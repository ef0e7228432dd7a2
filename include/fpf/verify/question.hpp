// What was asked, held against the prompt that evidence answers.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <fpf/core/error.hpp>
#include <fpf/prompt/prompt_options.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fpf::verify {

/// The question in one of four ways, or none.
struct Question {
  prompt::PromptSource document;
  std::vector<std::string> ids;     // files, as --prompt-ids takes them: one a prompt
  std::vector<std::string> sha256;  // of the ids alone, in hexadecimal

  bool is_document() const { return document.documents() > 0; }
  /// "--prompt-ids F"; empty where none was given.
  std::string option() const {
    if (is_document()) return document.option();
    if (!ids.empty()) return fmt::format("--prompt-ids {}", fmt::join(ids, " or "));
    return sha256.empty() ? "" : fmt::format("--prompt-sha256 {}", fmt::join(sha256, " or "));
  }
};

/// The options, into `out` when notified: those of the experiments, and a digest.
inline void question_options(po::options_description& described, Question& out) {
  described.add_options()  //
      ("prompt-sha256", po::value(&out.sha256)->value_name("HEX"),
       "the SHA-256 of its ids (little-endian int32); several times: one of them")  //
      ("prompt-ids", po::value(&out.ids)->value_name("F"),
       "its token ids, a JSON array or make_prompt's file; several times: one of them");
  prompt::prompt_options(described, out.document);
}

/// Throws Error naming the option: at most one way, a digest that is one, and nothing about a document without one.
inline void validate(const Question& question, const po::variables_map& values) {
  const int ways = question.is_document() + !question.ids.empty() + !question.sha256.empty();
  if (ways > 1)
    fail("expected at most one of --prompt-pdf, --prompt-text, --prompt-ids and --prompt-sha256, found {}", ways);
  for (const char* name : {"prompt-pdf", "prompt-text"})
    if (values.count(name) != 0 && std::ranges::count(values[name].as<std::vector<std::string>>(), "") != 0)
      fail("--{}: expected a value, found none", name);
  for (const std::string& file : question.ids)
    if (file.empty()) fail("--prompt-ids: expected a value, found none");
  for (const std::string& one : question.sha256) {
    const bool hex = std::ranges::all_of(one, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    if (!hex || one.size() != 64)
      fail("--prompt-sha256 {}: expected 64 hexadecimal digits in lower case", one.empty() ? "" : one);
  }
  if (question.document.options.tokens <= 0)
    fail("--prompt-tokens {}: expected a positive number", question.document.options.tokens);
  if (question.is_document()) return;
  for (const char* name :
       {"prompt-tokens", "request", "no-chat-template", "thinking", "template-date", "add-special-tokens"})
    if (values.count(name) != 0 && !values[name].defaulted())
      fail("--{} makes a prompt of a document: expected --prompt-pdf or --prompt-text with it", name);
}

/// The prompt that a run answers, and what it was held against.
struct PromptReport {
  std::size_t tokens = 0;
  std::string sha256{};        // of its ids, computed
  std::string begins{};        // its first words, or ids where there are none
  std::string among{};         // "prompt 3 of 30, cut by seed 7"; empty where there is one
  std::string held_against{};  // Question::option(); empty: nothing
  std::string difference{};    // empty: none
  std::vector<std::string> held{};  // what the document held beside the ids: rows of evidence::schema_fields
};

/// Where a run's ids are not those asked for, as a sentence; empty when they are. `text_of(id)` is a token's text.
template <class TextOf>
std::string prompt_difference(const std::string& option, std::span<const std::int32_t> claimed,
                              std::span<const std::int32_t> asked, TextOf text_of) {
  const auto at = static_cast<std::size_t>(std::ranges::mismatch(claimed, asked).in1 - claimed.begin());
  if (at == claimed.size() && at == asked.size()) return "";
  const std::string lengths = fmt::format("{} tokens, {} were asked", claimed.size(), asked.size());
  if (at == claimed.size() || at == asked.size())
    return fmt::format("it answers another prompt than {}: it has {}, and the first {} are equal", option, lengths, at);
  return fmt::format("it answers another prompt than {}: token {} of its prompt is {}{}, asked was {}{} ({})", option,
                     at, claimed[at], text_of(claimed[at]), asked[at], text_of(asked[at]), lengths);
}

}  // namespace fpf::verify
