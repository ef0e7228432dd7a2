// What a user says of a prompt: the same words and defaults in every program that makes one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/program.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

struct PromptOptions {
  std::int64_t tokens = 6144;                                    // of the whole prompt; positive
  std::string request = "Provide a summary of the text above.";  // may be empty
  bool chat_template = true;
  bool thinking = false;
  bool add_special_tokens = true;  // of the tokeniser's post-processor, around raw text
  std::string template_date{};     // YYYY-MM-DD, today's date as a chat template is told; may be empty
};

/// Documents and how to make prompts of them: one, but where prompts are drawn over several.
struct PromptSource {
  std::vector<std::string> pdfs, texts;  // paths, as given
  PromptOptions options;

  std::size_t documents() const { return pdfs.size() + texts.size(); }
  /// All paths, PDFs first: the order in which they are drawn from.
  std::vector<std::string> files() const {
    std::vector<std::string> out = pdfs;
    out.insert(out.end(), texts.begin(), texts.end());
    return out;
  }
  /// "--prompt-pdf A --prompt-text B"
  std::string option() const {
    std::string out;
    for (const std::string& one : pdfs) out += " --prompt-pdf " + one;
    for (const std::string& one : texts) out += " --prompt-text " + one;
    return out.empty() ? out : out.substr(1);
  }
};

namespace detail {

/// An option that is on or off; notifying throws Error for any other value.
inline po::typed_value<std::string>* on_or_off(const char* option, bool& out) {
  return po::value<std::string>()
      ->value_name("on|off")
      ->default_value(out ? "on" : "off")
      ->notifier([option, &out](const std::string& value) {
        if (value != "on" && value != "off") fail("--{} {}: expected on or off", option, value);
        out = value == "on";
      });
}

/// Throws Error unless the text is a day of the Gregorian calendar as YYYY-MM-DD.
inline void require_date(const std::string& option, const std::string& text) {
  const auto part = [&](std::size_t at, std::size_t length) {
    const auto number = parse_number<int>(std::string_view(text).substr(at, length));
    return number && *number > 0 ? *number : 0;
  };
  if (text.size() == 10 && text[4] == '-' && text[7] == '-') {
    const std::chrono::year_month_day day{std::chrono::year(part(0, 4)),
                                          std::chrono::month(static_cast<unsigned>(part(5, 2))),
                                          std::chrono::day(static_cast<unsigned>(part(8, 2)))};
    if (day.ok() && part(0, 4) > 0) return;
  }
  fail("--{} {}: expected a date, YYYY-MM-DD", option, text);
}

}  // namespace detail

/// Adds the options, into `out` when notified; notifying throws Error for a value that is none.
inline void prompt_options(po::options_description& described, PromptSource& out) {
  const auto file = [](std::vector<std::string>& to) {  // those given replace a --config file's
    return po::value(&to)->value_name("F");
  };
  PromptOptions& options = out.options;
  described.add_options()                                                    //
      ("prompt-pdf", file(out.pdfs), "the document, a PDF (.gz too)")         //
      ("prompt-text", file(out.texts), "the document, plain text (.gz too)")  //
      ("prompt-tokens", po::value(&options.tokens)->value_name("N")->default_value(options.tokens),
       "exact length of the prompt, chat template and request included")  //
      ("request", po::value(&options.request)->value_name("TEXT")->default_value(options.request),
       "what the prompt asks after the document; may be empty")  //
      ("no-chat-template", po::bool_switch()->notifier([&options](bool on) { options.chat_template = !on; }),
       "document and request as raw text")                                                                       //
      ("thinking", detail::on_or_off("thinking", options.thinking), "what a template with that switch is told")  //
      ("template-date", po::value(&options.template_date)->value_name("DATE")->notifier([](const std::string& value) {
        detail::require_date("template-date", value);
      }),
       "today's date, YYYY-MM-DD, for a chat template that asks for it")  //
      ("add-special-tokens", detail::on_or_off("add-special-tokens", options.add_special_tokens),
       "with --no-chat-template: what the tokeniser puts around raw text (a begin token, say)");
}

}  // namespace fpf::prompt
