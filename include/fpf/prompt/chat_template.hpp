// Chat templates: ChatML around one user message.
#pragma once

#include <cstddef>
#include <fpf/core/error.hpp>
#include <string>
#include <string_view>

namespace fpf::prompt {

/// What fpf takes from a model's Jinja template. It is not a Jinja interpreter: it reads the three things in
/// which ChatML templates differ for a single user message, and refuses templates that do more.
struct ChatTemplate {
  enum class Thinking {
    none,      // no switch in the template
    optional,  // enable_thinking: off writes an empty think block (Qwen3)
    always     // the assistant's turn starts inside a think block (Qwen3 Thinking)
  };
  std::string system;  // the system message that stands where the user gives none; empty: no system turn
  Thinking thinking = Thinking::none;
  std::string thinking_prefix;  // what starts the assistant's turn with thinking on
};

/// The text around the user's message.
struct RenderedTurn {
  std::string before;
  std::string after;  // up to where the assistant's answer begins
};

namespace detail {

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// The literal after "<|im_start|>system\n" up to "<|im_end|>", where one string of the template holds both.
inline std::string default_system_message(std::string_view jinja) {
  constexpr std::string_view start = "<|im_start|>system\n", end = "<|im_end|>";
  for (std::size_t at = jinja.find(start); at != std::string_view::npos; at = jinja.find(start, at + 1)) {
    const char before = at == 0 ? '}' : jinja[at - 1];
    const char quote = before == '\'' || before == '"' ? before : '{';  // outside a string the next tag ends it
    const std::string_view rest = jinja.substr(at + start.size());
    std::size_t stop = 0;
    while (stop < rest.size() && rest[stop] != quote && !rest.substr(stop).starts_with(end))
      stop += rest[stop] == '\\' ? 2 : 1;
    if (stop == 0 || stop >= rest.size() || !rest.substr(stop).starts_with(end)) continue;
    std::string message(rest.substr(0, stop));
    replace_all(message, R"(\')", "'");
    replace_all(message, R"(\")", "\"");
    return message;
  }
  return {};
}

}  // namespace detail

/// Reads a Jinja template; an empty one is plain ChatML. Throws Error naming what fpf cannot render.
inline ChatTemplate read_chat_template(std::string jinja) {
  ChatTemplate out;
  if (jinja.empty()) return out;
  detail::replace_all(jinja, "\\n", "\n");  // inside the template's string literals
  const auto has = [&](std::string_view part) { return jinja.find(part) != std::string::npos; };
  constexpr std::string_view advice = "; use --no-chat-template, or give the rendered prompt by --prompt-ids";
  if (!has("<|im_start|>")) fail("unsupported chat template: expected ChatML (<|im_start|>){}", advice);
  for (const std::string_view part : {"strftime_now", "bos_token", "set system", "set default_system"})
    if (has(part)) fail("unsupported chat template: it uses \"{}\"{}", part, advice);
  out.system = detail::default_system_message(jinja);
  if (has("<|im_start|>assistant\n<think>\n'") || has("<|im_start|>assistant\n<think>\n\"")) {
    out.thinking = ChatTemplate::Thinking::always;
    out.thinking_prefix = "<think>\n";
  } else if (has("enable_thinking")) {
    if (!has("<think>\n\n</think>\n\n"))
      fail("unsupported chat template: enable_thinking without an empty think block{}", advice);
    out.thinking = ChatTemplate::Thinking::optional;
    if (has("'<think>\n'") || has("\"<think>\n\"")) out.thinking_prefix = "<think>\n";
  }
  return out;
}

/// The text around one user message. Throws Error when the template has no such choice of thinking.
inline RenderedTurn render(const ChatTemplate& chat, bool thinking) {
  using Thinking = ChatTemplate::Thinking;
  if (thinking && chat.thinking == Thinking::none) fail("--thinking on: the model's chat template has no such switch");
  if (!thinking && chat.thinking == Thinking::always)
    fail("--thinking off: the model's chat template always thinks; use --thinking on");
  RenderedTurn out;
  if (!chat.system.empty()) out.before = "<|im_start|>system\n" + chat.system + "<|im_end|>\n";
  out.before += "<|im_start|>user\n";
  out.after = "<|im_end|>\n<|im_start|>assistant\n";
  if (thinking) out.after += chat.thinking_prefix;
  if (!thinking && chat.thinking == Thinking::optional) out.after += "<think>\n\n</think>\n\n";
  return out;
}

}  // namespace fpf::prompt
