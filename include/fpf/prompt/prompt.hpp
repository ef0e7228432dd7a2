// Prompts of exact length: a document, a request about it, a chat template around both.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/prompt/chat_template.hpp>
#include <fpf/prompt/prompt_options.hpp>
#include <fpf/prompt/tokenizer.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

struct Prompt {
  std::string text;  // decoded from the ids, which are what counts: a cut inside a character shows as U+FFFD
  std::vector<std::int32_t> token_ids;
  std::string sha256;                    // of the ids as little-endian int32
  std::string document_sha256;           // of the document's text, in hexadecimal; empty where it is unknown
  std::size_t document_tokens = 0;       // what the whole document has
  std::size_t document_tokens_used = 0;  // what the prompt holds of it
};

/// SHA-256 over the ids as little-endian int32, in hexadecimal (formats.md, `prompt_sha256`).
inline std::string prompt_sha256(std::span<const std::int32_t> ids) {
  static_assert(std::endian::native == std::endian::little);
  return sha256_hex(std::as_bytes(ids));
}

/// A prompt of exactly options.tokens tokens, which are the concatenation of
///     encode(before, special) + the first D of encode(document) + encode("\n\n" + request) + encode(after,
///     special)
/// where before and after are the chat template around a user message (empty without one), special tokens are
/// looked for in the template alone, and D fills the length. The parts are encoded apart, so that no token
/// spans a seam and the document is cut at one of its own tokens. Without a request its part is empty. Throws
/// Error when the document is too short (with the tokens it has), when not one of its tokens fits, or when
/// the template is not ChatML or its tokens are missing.
inline Prompt make_prompt(const Tokenizer& tokenizer, std::string_view document, const PromptOptions& options,
                          std::string_view document_name = "the document") {
  std::vector<std::int32_t> before, after;
  if (options.chat_template) {
    const RenderedTurn turn = render(read_chat_template(tokenizer.vocabulary().chat_template), options.thinking);
    for (const char* token : {"<|im_start|>", "<|im_end|>"})
      if (tokenizer.encode(token, true).size() != 1)
        fail("the tokeniser has no special token {}, which ChatML needs; use --no-chat-template", token);
    before = tokenizer.encode(turn.before, true);
    after = tokenizer.encode(turn.after, true);
  } else if (options.thinking) {
    fail("--thinking on needs the chat template: found --no-chat-template");
  }
  const auto request =
      options.request.empty() ? std::vector<std::int32_t>{} : tokenizer.encode("\n\n" + options.request, false);
  const auto around = static_cast<std::int64_t>(before.size() + request.size() + after.size());
  if (options.tokens <= around)
    fail(
        "a prompt of {} tokens has no room for the document: template and request take {}, expected at least "
        "{}",
        options.tokens, around, around + 1);
  const auto body = tokenizer.encode(document, false);
  const auto used = static_cast<std::size_t>(options.tokens - around);
  if (body.size() < used)
    fail("{} is too short: it has {} tokens, and a prompt of {} needs {} of it ({} are template and request)",
         document_name, body.size(), options.tokens, used, around);

  Prompt out;
  out.token_ids = before;
  out.token_ids.insert(out.token_ids.end(), body.begin(), body.begin() + static_cast<std::ptrdiff_t>(used));
  out.token_ids.insert(out.token_ids.end(), request.begin(), request.end());
  out.token_ids.insert(out.token_ids.end(), after.begin(), after.end());
  out.text = tokenizer.decode(out.token_ids);
  out.sha256 = prompt_sha256(out.token_ids);
  out.document_tokens = body.size();
  out.document_tokens_used = used;
  return out;
}

}  // namespace fpf::prompt
