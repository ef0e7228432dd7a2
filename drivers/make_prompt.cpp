// PDF or text -> a prompt of exactly so many tokens, with its ids, as JSON.
#include <fpf/core/interrupt.hpp>
#include <fpf/core/overwriting.hpp>
#include <fpf/core/program.hpp>
#include <fpf/evidence/looks_like.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <fpf/prompt/prompt_file.hpp>
#include <fpf/prompt/prompt_from_document.hpp>

using namespace fpf;

int main(int argc, char** argv) {
  return run_program("make_prompt", [&] {
    const ProgramInfo info{"make_prompt", "makes a prompt of exact length from a document, as JSON",
                           "make_prompt --tokenizer build/models/SmolLM2-135M-Instruct.Q4_1.gguf "
                           "--prompt-pdf build/documents/bashref.pdf --prompt-tokens 1024 --out prompt.json"};
    std::string tokenizer, out;
    prompt::PromptSource source;
    po::options_description described("Prompt");
    described.add_options()("tokenizer", po::value(&tokenizer)->value_name("DIR|GGUF"),
                            "Hugging Face directory, tokenizer.json or GGUF file");
    prompt::prompt_options(described, source);
    described.add_options()("out", po::value(&out)->value_name("FILE"),
                            "where the JSON goes (default: standard output)");
    po::variables_map values;
    if (!parse_options(argc, argv, info, described, values)) return ExitCode::ok;
    if (tokenizer.empty()) fail("--tokenizer is missing: expected a Hugging Face directory or a GGUF file");
    if (source.documents() != 1)
      fail("expected exactly one of --prompt-pdf and --prompt-text, found {}", source.documents());
    if (source.options.tokens <= 0) fail("--prompt-tokens {}: expected a positive number", source.options.tokens);
    std::vector<NamedPath> inputs{{"--tokenizer", tokenizer, true}, config_file(values)};
    append_paths(inputs, "--prompt-pdf", source.pdfs);
    append_paths(inputs, "--prompt-text", source.texts);
    refuse_overwriting({"--out", out}, inputs);
    evidence::refuse_overwriting_evidence("--out", out);
    catch_interrupts();
    const auto made = prompt::prompt_from_document(prompt::open_tokenizer(tokenizer), source,
                                                   [](const std::string& damage) { tell("make_prompt: {}", damage); });
    const prompt::PromptOrigin origin{source.files().front(), tokenizer, source.options};
    if (out.empty())
      write_stdout(prompt::prompt_json(made, origin));
    else
      prompt::write_prompt_file(out, made, origin);
    tell("make_prompt: {} tokens, {} of the document's {}; sha256 {}", made.token_ids.size(), made.document_tokens_used,
         prompt::document_length(made), made.sha256);
    return ExitCode::ok;
  });
}
