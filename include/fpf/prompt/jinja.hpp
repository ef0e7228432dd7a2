// Chat templates through the real Jinja2, in a child process.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/piped_child.hpp>
#include <fpf/core/text.hpp>
#include <fpf/prompt/jinja_script.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// One user message and the switch that some templates have.
struct ChatMessage {
  std::string content;  // valid UTF-8
  bool thinking = false;
};

/// What a template is rendered with, beside the messages.
struct ChatVariables {
  std::map<std::string, std::string> tokens{};  // bos_token and so on
  std::vector<std::string> unknown_tokens{};    // of those names, the ones of which nothing is known
  std::string date{};                           // YYYY-MM-DD, what strftime_now() says; empty: it is refused
};

/// Texts, one for each message, and who rendered them.
struct RenderedChats {
  std::vector<std::string> texts;
  std::string renderer;  // "native", "jinja2 3.1.6"
};

namespace detail {

inline constexpr std::string_view template_advice =
    "; use --no-chat-template, or give the rendered prompt's tokens by --prompt-ids";

/// Where a Python with Jinja2 may be: the virtual environment beside the program's own folder (build/venv for
/// build/bin/X, and for build/stack-NAME/bin/X), then python3 on PATH.
inline std::vector<std::string> pythons() {
  namespace fs = std::filesystem;
  std::vector<std::string> out;
  const auto add = [&](const fs::path& path) {
    if (::access(path.c_str(), X_OK) == 0) out.push_back(path.string());
  };
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path();
  if (!folder.empty()) {
    add(folder / "venv/bin/python3");
    add(folder.parent_path() / "venv/bin/python3");
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string one; std::getline(folders, one, ':');)
    if (!one.empty()) add(fs::path(one) / "python3");
  return out;
}

[[noreturn]] inline void refuse_jinja(const std::string& fault, const std::string& what) {
  const std::string said = one_line(what, 300);
  if (fault == "raised") fail("the chat template refuses the prompt: {}{}", said, template_advice);
  if (fault == "date")
    fail(
        "the chat template asks for today's date (strftime_now): give --template-date YYYY-MM-DD, so that the prompt can "
        "be made again");
  if (fault == "random")
    fail("unsupported chat template: it draws at random, so that the prompt differs each time{}", template_advice);
  if (fault == "unsure")
    fail("unsupported chat template: it uses {}, which tokenizer_config.json does not name{}", said, template_advice);
  if (fault == "limit") fail("the chat template was stopped: it needs too much {}{}", said, template_advice);
  fail("the chat template cannot be rendered: {}{}", said, template_advice);
}

[[noreturn]] inline void refuse_missing_jinja(const std::string& tried) {
  fail(
      "this chat template is not one that fpf renders itself, and no Python with jinja2 3.1 or later was found{}: install "
      "it (bash cmake/setup.sh, or pip install jinja2==3.1.6){}",
      tried, template_advice);
}

/// The script's answer, as JSON. Throws Error where it was stopped or said nothing.
inline nlohmann::json jinja_answer(const std::string& python, const std::string& request, const ChildLimits& limits) {
  using End = ChildOutput::End;
  const ChildOutput ran = run_piped({python, "-I", "-B", "-c", std::string(jinja_script)}, request, limits);
  if (ran.end == End::out_of_time)
    refuse_jinja("limit",
                 fmt::format("time (more than {} s of the CPU's, or {:g} s)", limits.cpu_seconds, limits.wall_seconds));
  if (ran.end == End::too_long)
    refuse_jinja("limit", fmt::format("room (a rendered text of more than {} bytes)", limits.output_bytes));
  if (auto json = try_parse_json(ran.out); json && json->is_object()) return std::move(*json);
  const auto newline = ran.err.find_last_of('\n', ran.err.size() < 2 ? 0 : ran.err.size() - 2);
  const std::string last = ran.err.substr(newline == std::string::npos ? 0 : newline + 1);
  return {{"fault", ran.code == 127 || ran.code == 1 ? "missing" : "error"},
          {"what", fmt::format("it ended with {} {}{}{}", ran.end == End::exited ? "exit code" : "signal", ran.code,
                               last.empty() ? "" : ": ", last)}};
}

}  // namespace detail

/// The limits within which messages of `bytes` bytes are rendered: some copies of them, as Python holds characters.
inline ChildLimits jinja_limits(std::size_t bytes) {
  ChildLimits out;
  out.cpu_seconds += bytes >> 20;
  out.wall_seconds += static_cast<double>(bytes >> 18);
  out.memory_bytes += 64 * bytes;
  out.output_bytes += 16 * bytes;
  return out;
}

/// Renders a template around each of the messages, as transformers' apply_chat_template does with that one user message
/// and add_generation_prompt: Jinja2 3.1 or later, sandboxed, in a Python of its own under `limits`. Throws Error when
/// there is none, and for what the template raises, cannot do or must not do (see jinja_script.hpp).
inline RenderedChats render_by_jinja(const std::string& jinja, const std::vector<ChatMessage>& messages,
                                     const ChatVariables& variables, const ChildLimits& limits) {
  nlohmann::json request = {{"template", jinja},
                            {"variables", variables.tokens},
                            {"unsure", variables.unknown_tokens},
                            {"date", variables.date.empty() ? nlohmann::json() : nlohmann::json(variables.date)},
                            {"renderings", nlohmann::json::array()}};
  for (const ChatMessage& one : messages)
    request["renderings"].push_back({{"message", one.content}, {"enable_thinking", one.thinking}});
  const std::string text = request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string tried;
  for (const std::string& python : detail::pythons()) {
    const auto answer = detail::jinja_answer(python, text, limits);
    const std::string fault = answer.value("fault", "");
    if (fault == "missing") {
      tried += fmt::format("{}{}: {}", tried.empty() ? " (" : "; ", python, one_line(answer.value("what", ""), 100));
      continue;
    }
    if (!fault.empty()) detail::refuse_jinja(fault, answer.value("what", ""));
    return {answer.at("texts").get<std::vector<std::string>>(), "jinja2 " + answer.at("jinja2").get<std::string>()};
  }
  detail::refuse_missing_jinja(tried.empty() ? "" : tried + ")");
}

}  // namespace fpf::prompt
