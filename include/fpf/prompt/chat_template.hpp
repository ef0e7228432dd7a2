// Chat templates: the text around one user message, as the template's own Jinja gives it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <fpf/core/error.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/utf8.hpp>
#include <fpf/prompt/jinja.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// A template that fpf renders itself: the whole text is known, and with it what it makes of one user message.
struct NativeTemplate {
  std::string_view sha256;  // of the template's text, byte for byte
  std::string_view before, after;
};

inline constexpr std::array native_templates{
    // SmolLM2-135M/360M/1.7B-Instruct
    NativeTemplate{
        "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788",
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n"}};

/// The one of native_templates that a text is, or nullptr.
inline const NativeTemplate* native_template(std::string_view jinja) {
  const std::string digest = sha256_hex(jinja);
  const auto found = std::ranges::find(native_templates, digest, &NativeTemplate::sha256);
  return found == native_templates.end() ? nullptr : &*found;
}

/// Renders each of the messages by itself, natively or by Jinja. Throws Error as render_by_jinja() does.
inline RenderedChats render_chats(const std::string& jinja, const std::vector<ChatMessage>& messages,
                                  const ChatVariables& variables) {
  std::size_t bytes = jinja.size();
  for (const ChatMessage& one : messages) bytes += one.content.size();
  const NativeTemplate* native = native_template(jinja);
  if (native == nullptr) return render_by_jinja(jinja, messages, variables, jinja_limits(bytes));
  RenderedChats out{.texts = {}, .renderer = "native"};
  for (const ChatMessage& one : messages)
    out.texts.push_back(fmt::format("{}{}{}", native->before, one.content, native->after));
  return out;
}

/// A rendered text around the user's message, which stands in it once, as it is but for white space at its ends.
struct RenderedTurn {
  std::string before, after;                        // up to where the assistant's answer begins
  std::size_t trimmed_left = 0, trimmed_right = 0;  // bytes of the message that the template left out
  std::string renderer{};
};

namespace detail {

/// Python's str.isspace() of one character: what Jinja's trim and a template's strip() take away.
inline bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

/// The length of the white space at the start of valid UTF-8.
inline std::size_t leading_space(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size()) {
    const Utf8Step step = decode_utf8(text.substr(length));
    if (!is_python_space(step.code_point)) break;
    length += step.length;
  }
  return length;
}

/// The length of the white space at the end of valid UTF-8.
inline std::size_t trailing_space(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
    if (!is_python_space(decode_utf8(text.substr(at)).code_point)) break;
    end = at;
  }
  return text.size() - end;
}

/// How `shown` is `message` without white space at its ends: sets what is left out, or returns false.
inline bool find_trimmed(std::string_view message, std::string_view shown, RenderedTurn& turn) {
  if (shown.size() > message.size()) return false;
  const std::size_t missing = message.size() - shown.size(), left = leading_space(message),
                    right = trailing_space(message);
  for (const std::size_t cut : {std::size_t{0}, std::min(left, missing)}) {  // the end alone, then the start first
    if (missing - cut > right || message.substr(cut, shown.size()) != shown) continue;
    turn.trimmed_left = cut;
    turn.trimmed_right = missing - cut;
    return true;
  }
  return false;
}

}  // namespace detail

/// Renders a template around one user message and finds the message in it. Where the template shows the message is
/// learnt from a word that stands in no document. With `thinking`, the template must make a difference between thinking
/// and not. Throws Error for a template that is empty, that fails (render_by_jinja()), or that shows the message
/// changed, not at all or more than once.
inline RenderedTurn render_turn(const std::string& jinja, const ChatMessage& message, const ChatVariables& variables) {
  if (jinja.empty())
    fail("the tokeniser has no chat template (or several, none of them named default){}", detail::template_advice);
  const std::string word = "fpf" + sha256_hex(jinja + message.content).substr(0, 24);
  std::vector<ChatMessage> messages{{word, message.thinking}, message};
  if (message.thinking) messages.push_back({word, false});
  const RenderedChats chats = render_chats(jinja, messages, variables);
  const std::string& around = chats.texts[0];
  const std::string_view whole = chats.texts[1];
  if (message.thinking && chats.texts[2] == around)
    fail(
        "--thinking on: the model's chat template has no such switch, it gives the same with enable_thinking or without");
  const std::size_t at = around.find(word);
  if (at == std::string::npos || around.find(word, at + 1) != std::string::npos)
    fail("unsupported chat template: it shows the user's message {}, expected once as it is{}",
         at == std::string::npos ? "not at all or changed" : "more than once", detail::template_advice);
  RenderedTurn out{
      .before = around.substr(0, at), .after = around.substr(at + word.size()), .renderer = chats.renderer};
  const bool fits = whole.size() >= out.before.size() + out.after.size() && whole.starts_with(out.before) &&
                    whole.ends_with(out.after);
  if (!fits ||
      !detail::find_trimmed(message.content,
                            whole.substr(out.before.size(), whole.size() - out.before.size() - out.after.size()), out))
    fail(
        "unsupported chat template: it changes the user's message beyond white space at its ends, or what stands around it "
        "depends on the message{}",
        detail::template_advice);
  return out;
}

}  // namespace fpf::prompt
