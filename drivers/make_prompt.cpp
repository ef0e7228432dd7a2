// PDF or text -> a prompt of exactly so many tokens, with its ids, as JSON.
#include <fpf/core/program.hpp>
#include <fpf/prompt/document.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <fpf/prompt/prompt_file.hpp>

namespace {

struct Settings {
  std::string tokenizer, prompt_pdf, prompt_text, out, thinking;
  std::int64_t tokens = 0;
  fpf::prompt::PromptOptions prompt;
};

fpf::po::options_description describe(Settings& settings) {
  const auto text = [](std::string& to, const char* name) { return fpf::po::value(&to)->value_name(name); };
  fpf::po::options_description out("Prompt");
  out.add_options()  //
      ("tokenizer", text(settings.tokenizer, "DIR|GGUF"),
       "Hugging Face directory, tokenizer.json or GGUF file")                                 //
      ("prompt-pdf", text(settings.prompt_pdf, "F"), "the document, a PDF (.gz too)")         //
      ("prompt-text", text(settings.prompt_text, "F"), "the document, plain text (.gz too)")  //
      ("prompt-tokens",
       fpf::po::value(&settings.tokens)
           ->value_name("N")
           ->default_value(static_cast<std::int64_t>(settings.prompt.tokens)),
       "exact length of the prompt, chat template and request included")  //
      ("request", text(settings.prompt.request, "TEXT")->default_value(settings.prompt.request),
       "what the prompt asks after the document; may be empty")  //
      ("no-chat-template",
       fpf::po::bool_switch()->notifier([&](bool on) { settings.prompt.chat_template = !on; }),
       "document and request as raw text")  //
      ("thinking", text(settings.thinking, "on|off")->default_value("off"),
       "what a template with that switch is told")  //
      ("out", text(settings.out, "FILE"), "where the JSON goes (default: standard output)");
  return out;
}

void validate(Settings& settings) {
  if (settings.tokenizer.empty())
    fpf::fail("--tokenizer is missing: expected a Hugging Face directory or a GGUF file");
  if (settings.prompt_pdf.empty() == settings.prompt_text.empty())
    fpf::fail("expected exactly one of --prompt-pdf and --prompt-text, found {}",
              settings.prompt_pdf.empty() ? 0 : 2);
  if (settings.tokens <= 0) fpf::fail("--prompt-tokens {}: expected a positive number", settings.tokens);
  if (settings.thinking != "on" && settings.thinking != "off")
    fpf::fail("--thinking {}: expected on or off", settings.thinking);
  settings.prompt.tokens = static_cast<std::size_t>(settings.tokens);
  settings.prompt.thinking = settings.thinking == "on";
}

void make(const Settings& settings) {
  using fpf::prompt::DocumentKind;
  const bool pdf = !settings.prompt_pdf.empty();
  const std::string& path = pdf ? settings.prompt_pdf : settings.prompt_text;
  std::vector<std::string> problems;
  const std::string document =
      fpf::prompt::document_text(path, pdf ? DocumentKind::pdf : DocumentKind::text, &problems);
  if (!problems.empty())
    fmt::print(stderr, "make_prompt: {}\n", fpf::prompt::describe_damage(path, problems));
  const auto tokenizer = fpf::prompt::open_tokenizer(settings.tokenizer);
  const auto prompt = fpf::prompt::make_prompt(tokenizer, document, settings.prompt, path);
  const fpf::prompt::PromptOrigin origin{path, fpf::sha256_hex(document), settings.tokenizer,
                                         settings.prompt};
  if (settings.out.empty()) {
    const std::string json = fpf::prompt::prompt_json(prompt, origin);
    if (std::fwrite(json.data(), 1, json.size(), stdout) != json.size() || std::fflush(stdout) != 0)
      fpf::fail("cannot write to standard output");
  } else {
    fpf::prompt::write_prompt_file(settings.out, prompt, origin);
  }
  fmt::print(stderr, "make_prompt: {} tokens, {} of the document's {}; sha256 {}\n", prompt.token_ids.size(),
             prompt.document_tokens_used, prompt.document_tokens, prompt.sha256);
}

}  // namespace

int main(int argc, char** argv) {
  return fpf::run_program("make_prompt", [&] {
    const fpf::ProgramInfo info{
        "make_prompt", "makes a prompt of exact length from a document, as JSON",
        "make_prompt --tokenizer build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
        "build/documents/bashref.pdf --prompt-tokens 1024 --out prompt.json"};
    Settings settings;
    fpf::po::variables_map values;
    if (fpf::parse_options(argc, argv, info, describe(settings), values)) {
      validate(settings);
      make(settings);
    }
    return fpf::ExitCode::ok;
  });
}
