// What a user says of a prompt: the same words and defaults in every program that makes one.
#pragma once

#include <cstdint>
#include <fpf/core/program.hpp>
#include <string>

namespace fpf::prompt {

struct PromptOptions {
  std::int64_t tokens = 6144;                                    // of the whole prompt; positive
  std::string request = "Provide a summary of the text above.";  // may be empty
  bool chat_template = true;
  bool thinking = false;
};

/// A document and how to make a prompt of it.
struct PromptSource {
  std::string pdf, text;  // its path, as one of the two
  PromptOptions options;

  const std::string& file() const { return pdf.empty() ? text : pdf; }
};

/// Adds the options, into `out` when notified; notifying throws Error for a --thinking that is neither on nor
/// off.
inline void prompt_options(po::options_description& described, PromptSource& out) {
  const auto file = [](std::string& to) { return po::value(&to)->value_name("F"); };
  PromptOptions& options = out.options;
  described.add_options()                                                    //
      ("prompt-pdf", file(out.pdf), "the document, a PDF (.gz too)")         //
      ("prompt-text", file(out.text), "the document, plain text (.gz too)")  //
      ("prompt-tokens", po::value(&options.tokens)->value_name("N")->default_value(options.tokens),
       "exact length of the prompt, chat template and request included")  //
      ("request", po::value(&options.request)->value_name("TEXT")->default_value(options.request),
       "what the prompt asks after the document; may be empty")  //
      ("no-chat-template", po::bool_switch()->notifier([&options](bool on) { options.chat_template = !on; }),
       "document and request as raw text")  //
      ("thinking",
       po::value<std::string>()->value_name("on|off")->default_value("off")->notifier(
           [&options](const std::string& value) {
             if (value != "on" && value != "off") fail("--thinking {}: expected on or off", value);
             options.thinking = value == "on";
           }),
       "what a template with that switch is told");
}

}  // namespace fpf::prompt
