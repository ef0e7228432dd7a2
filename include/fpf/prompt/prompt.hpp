// Prompts of exact length: a document, a request about it, a chat template around both.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/utf8.hpp>
#include <fpf/prompt/chat_template.hpp>
#include <fpf/prompt/prompt_options.hpp>
#include <fpf/prompt/tokenizer.hpp>
#include <optional>
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
  std::size_t document_tokens = 0;       // what the whole document has, without white space that the template trims; 0
                                         // where it is unknown, or more than tokens_ahead beyond the prompt's
  std::size_t document_tokens_used = 0;  // what the prompt holds of it
  std::string template_renderer;         // "native", "jinja2 3.1.6", "none" (raw text); empty: the ids were given
  std::string template_sha256;           // of the template's text, in hexadecimal; empty without one
  std::string template_date;             // what strftime_now() said; empty without one
  bool thinking = false;                 // enable_thinking
  std::size_t special_tokens = 0;        // those that the tokeniser's post-processor put around raw text
  std::optional<std::size_t> document_offset{};  // byte of the document's text at which it begins, where that was drawn
};

/// The document's tokens, for people.
inline std::string document_length(const Prompt& prompt) {
  return prompt.document_tokens == 0 ? "many" : fmt::to_string(prompt.document_tokens);
}

/// SHA-256 over the ids as little-endian int32, in hexadecimal (formats.md, `prompt_sha256`).
inline std::string prompt_sha256(std::span<const std::int32_t> ids) {
  static_assert(std::endian::native == std::endian::little);
  return sha256_hex(std::as_bytes(ids));
}

namespace detail {

using Ids = std::vector<std::int32_t>;

/// A prompt's parts before the document is cut.
struct PromptParts {
  Ids before, request, after;
  std::string document;  // as the template shows it
  RenderedTurn turn;
  std::string lead, request_text, tail;  // of the user's message: white space trimmed away, the request, the same

  std::size_t around() const { return before.size() + request.size() + after.size(); }
};

inline ChatVariables chat_variables(const Vocabulary& vocabulary, const PromptOptions& options) {
  return {.tokens = vocabulary.named_tokens, .unknown_tokens = vocabulary.unknown_names, .date = options.template_date};
}

inline std::string request_part(const PromptOptions& options) {
  return options.request.empty() ? std::string() : "\n\n" + replace_invalid_utf8(options.request);
}

inline PromptParts raw_parts(const Tokenizer& tokenizer, std::string_view document, const PromptOptions& options) {
  if (options.thinking) fail("--thinking on needs the chat template: found --no-chat-template");
  PromptParts out;
  out.document = document;
  out.request = tokenizer.encode(request_part(options), false);
  const Surrounding& around = tokenizer.vocabulary().surrounding;
  if (!options.add_special_tokens) return out;
  if (!around.unknown.empty())
    fail(
        "{}: what it puts around raw text is unknown; use --add-special-tokens off, or give the tokens by --prompt-ids",
        around.unknown);
  out.before = around.before;
  out.after = around.after;
  return out;
}

/// How many of a document's tokens are found beyond those that the prompt needs: enough to say of most documents how
/// many they have, and to offer another length.
inline constexpr std::size_t tokens_ahead = std::size_t{1} << 19;

/// A document that is too long for a template to show, without its middle: what a template trims stands at the ends,
/// and that it shows the prompt's own part as it is, require_exact_rendering() makes sure of.
inline std::string without_middle(std::string_view document) {
  constexpr std::size_t end = std::size_t{1} << 19;
  const auto start_of_character = [&](std::size_t at) {
    while ((static_cast<unsigned char>(document[at]) & 0xc0) == 0x80) --at;
    return at;
  };
  if (document.size() <= 2 * end) return std::string(document);
  const std::string_view head = document.substr(0, start_of_character(end)),
                         tail = document.substr(start_of_character(document.size() - end));
  if (leading_space(head) == head.size() || trailing_space(tail) == tail.size()) return std::string(document);
  return std::string(head) += tail;
}

inline PromptParts chat_parts(const Tokenizer& tokenizer, std::string_view document, const PromptOptions& options) {
  const std::string& jinja = tokenizer.vocabulary().chat_template;
  const std::string whole = replace_invalid_utf8(document);
  std::string message = without_middle(whole);
  const std::size_t length = message.size();
  message += request_part(options);
  PromptParts out;
  out.turn = render_turn(jinja, {message, options.thinking}, chat_variables(tokenizer.vocabulary(), options));
  if (native_template(jinja) != nullptr)
    for (const char* token : {"<|im_start|>", "<|im_end|>"})
      if (tokenizer.encode(token, true).size() != 1)
        fail("the tokeniser has no special token {}, which ChatML needs; use --no-chat-template", token);
  const std::size_t first = out.turn.trimmed_left, last = message.size() - out.turn.trimmed_right;
  const std::size_t seam = std::clamp(length, first, last);
  out.lead = message.substr(0, first);
  out.document = whole.substr(first, whole.size() - first - (length - seam));
  out.request_text = message.substr(seam, last - seam);
  out.tail = message.substr(last);
  out.before = tokenizer.encode(out.turn.before, true);
  out.request = tokenizer.encode(out.request_text, false);
  out.after = tokenizer.encode(out.turn.after, true);
  return out;
}

inline PromptParts parts_of(const Tokenizer& tokenizer, std::string_view document, const PromptOptions& options) {
  return options.chat_template ? chat_parts(tokenizer, document, options) : raw_parts(tokenizer, document, options);
}

/// Whether the first `count` of a document's tokens end in white space that a template would trim.
inline bool ends_in_space(const Tokenizer& tokenizer, std::span<const std::int32_t> body, std::size_t count) {
  const std::size_t few = std::min<std::size_t>(count, 4);  // a character has four bytes at most
  return trailing_space(tokenizer.decode(body.subspan(count - few, few))) > 0;
}

/// Renders once more, around the document as it is cut. Throws Error where the template would show it otherwise.
inline void require_exact_rendering(const Tokenizer& tokenizer, const PromptParts& parts,
                                    std::span<const std::int32_t> body, std::size_t used,
                                    const PromptOptions& options) {
  std::string shown = tokenizer.decode(body.first(used));
  if (tokenizer.vocabulary().pre_tokeniser.prefix_space && !parts.document.starts_with(' ') && shown.starts_with(' '))
    shown.erase(0, 1);  // the tokeniser's own, not the document's
  shown += parts.request_text;
  const auto& vocabulary = tokenizer.vocabulary();
  const RenderedChats again =
      render_chats(vocabulary.chat_template, {{parts.lead + shown + parts.tail, options.thinking}},
                   chat_variables(vocabulary, options));
  if (again.texts.front() == parts.turn.before + shown + parts.turn.after) return;
  if (parts.request_text.empty() && ends_in_space(tokenizer, body, used)) {
    std::string lengths;
    const auto offer = [&](std::size_t count) {
      lengths += fmt::format("{}{}", lengths.empty() ? "" : " or ", parts.around() + count);
    };
    std::size_t less = used - 1, more = used + 1;
    while (less > 0 && ends_in_space(tokenizer, body, less)) --less;
    while (more < body.size() && ends_in_space(tokenizer, body, more)) ++more;
    if (less > 0) offer(less);
    if (more <= body.size()) offer(more);
    if (!lengths.empty())
      fail(
          "a prompt of {} tokens is not possible: the document is cut behind white space, which the chat template trims; "
          "--prompt-tokens {} is",
          options.tokens, lengths);
  }
  fail("unsupported chat template: what it shows around or of the user's message changes with the message's length{}",
       template_advice);
}

}  // namespace detail

/// A prompt of exactly options.tokens tokens, which are the concatenation of
///     encode(before, special) + the first D of encode(document) + encode("\n\n" + request) + encode(after, special)
/// where before and after are what the model's chat template puts around a user message that holds document and request
/// (with white space trimmed where the template trims it), and D fills the length. Special tokens are looked for in the
/// template alone. Without a request its part is empty; without the template, before and after are the tokens that the
/// tokeniser's post-processor puts around a text, or nothing. The parts are encoded apart, so that no token spans a
/// seam and the document is cut at one of its own tokens; rendered around the document so cut, the template gives the
/// prompt's text. Throws Error when the document is too short (with the tokens it has), when not one of its tokens
/// fits, for a length that the template's trimming makes impossible, and as render_turn() does. `tokens_ahead`: how
/// many of the document's tokens beyond the prompt's are counted.
inline Prompt make_prompt(const Tokenizer& tokenizer, std::string_view document, const PromptOptions& options,
                          std::string_view document_name = "the document",
                          std::size_t tokens_ahead = detail::tokens_ahead) {
  const detail::PromptParts parts = detail::parts_of(tokenizer, document, options);
  const auto around = static_cast<std::int64_t>(parts.around());
  if (options.tokens <= around)
    fail(
        "a prompt of {} tokens has no room for the document: template and request take {}, expected at least "
        "{}",
        options.tokens, around, around + 1);
  const auto used = static_cast<std::size_t>(options.tokens - around), looked_at = used + tokens_ahead;
  const auto body =
      naming(std::string(document_name), [&] { return tokenizer.encode_first(parts.document, false, looked_at); });
  if (body.size() < used)
    fail("{} is too short: it has {} tokens, and a prompt of {} needs {} of it ({} are template and request)",
         document_name, body.size(), options.tokens, used, around);
  if (options.chat_template) detail::require_exact_rendering(tokenizer, parts, body, used, options);

  Prompt out;
  out.token_ids = parts.before;
  out.token_ids.insert(out.token_ids.end(), body.begin(), body.begin() + static_cast<std::ptrdiff_t>(used));
  out.token_ids.insert(out.token_ids.end(), parts.request.begin(), parts.request.end());
  out.token_ids.insert(out.token_ids.end(), parts.after.begin(), parts.after.end());
  out.text = tokenizer.decode(out.token_ids);
  out.sha256 = prompt_sha256(out.token_ids);
  out.document_tokens = body.size() < looked_at ? body.size() : 0;
  out.document_tokens_used = used;
  out.thinking = options.thinking;
  out.template_renderer = options.chat_template ? parts.turn.renderer : "none";
  if (options.chat_template) {
    out.template_sha256 = sha256_hex(tokenizer.vocabulary().chat_template);
    if (out.template_renderer != "native") out.template_date = options.template_date;
  } else {
    out.special_tokens = parts.before.size() + parts.after.size();
  }
  return out;
}

}  // namespace fpf::prompt
