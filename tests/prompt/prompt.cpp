// prompt/: chat templates against Jinja's rendering, prompts of exact length and their files against the
// definition computed by the `tokenizers` package (fixtures/make_prompts.py), and the program make_prompt.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fpf/prompt/prompt_file.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "child.hpp"
#include "error_text.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_prompt)

using namespace fpf;
using namespace fpf::prompt;
using nlohmann::json;
namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

namespace {

const json& expected() {
  static const json file = json::parse(std::ifstream(fs::path(FPF_FIXTURES) / "prompts" / "expected.json"));
  return file;
}

// Templates that give for one user message what the published ones give (expected.json's texts are of those).
std::string template_of(const std::string& model) {
  static const std::string qwen3 = [] {
    const json file = json::parse(std::ifstream(fs::path(FPF_FIXTURES) / "prompts" / "templates.json"));
    for (const json& row : file["templates"])
      if (row["name"] == "qwen 3") return row["template"].get<std::string>();
    return std::string();
  }();
  static const std::string turns =
      R"({%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %})"
      R"({{- '<|im_start|>assistant\n' }})";
  if (model == "smollm2") return smollm2_vocabulary().chat_template;  // the model's own
  if (model == "qwen3") return qwen3;
  if (model == "qwq") return turns + R"({{- '<think>\n' }})";
  return R"({{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }})" +
         turns;
}

const Tokenizer& tokenizer_of(const std::string& model) {
  static const Tokenizer smollm2 = Tokenizer::from_vocabulary(smollm2_vocabulary()), qwen3 = [] {
    Vocabulary vocabulary = qwen_vocabulary();
    vocabulary.chat_template = template_of("qwen3");
    return Tokenizer::from_vocabulary(std::move(vocabulary));
  }();
  return model == "smollm2" ? smollm2 : qwen3;
}

PromptOptions options_of(const json& row) {
  return {.tokens = row["tokens"],
          .request = row["request"],
          .chat_template = row["chat_template"],
          .thinking = row["thinking"]};
}

std::string refusal(const PromptOptions& options, const std::string& document = "a few words",
                    const char* model = "smollm2") {
  return error_text([&] { make_prompt(tokenizer_of(model), document, options); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(templates_render_as_jinja_renders_them) {
  BOOST_TEST(expected()["templates"].size() == 15u);
  for (const json& row : expected()["templates"]) {
    const ChatMessage message{row[2], row[1].get<bool>() && row[0] == "qwen3"};
    const RenderedTurn turn = render_turn(template_of(row[0]), message, {});
    BOOST_TEST(turn.before + message.content + turn.after == row[3].get<std::string>());
    BOOST_TEST((turn.renderer == "native") == (row[0] == "smollm2"));
  }
}

BOOST_AUTO_TEST_CASE(thinking_needs_a_chat_template) {
  BOOST_TEST(mentions(refusal({.tokens = 20, .chat_template = false, .thinking = true}),
                      {"--thinking on", "--no-chat-template"}));
}

BOOST_AUTO_TEST_CASE(prompts_have_the_ids_that_the_definition_gives) {
  int cut_characters = 0;
  BOOST_TEST(expected()["prompts"].size() >= 40u);
  for (const json& row : expected()["prompts"]) {
    const Prompt prompt =
        make_prompt(tokenizer_of(row["model"]), expected()["document"].get<std::string>(), options_of(row));
    BOOST_TEST(prompt.token_ids == row["ids"].get<Ids>(), boost::test_tools::per_element());
    BOOST_TEST(prompt.token_ids.size() == row["tokens"].get<std::size_t>());
    BOOST_TEST(prompt.sha256 == row["sha256"].get<std::string>());
    BOOST_TEST(prompt.text == row["text"].get<std::string>());
    BOOST_TEST(prompt.document_tokens == row["document_tokens"].get<std::size_t>());
    cut_characters += prompt.text.find("\ufffd") != std::string::npos;
  }
  BOOST_TEST(cut_characters > 0);  // the fixture has documents cut inside a character
}

BOOST_AUTO_TEST_CASE(a_document_that_does_not_fit_is_an_error_with_numbers) {
  // SmolLM2's template and the request take 40 tokens (the fixture's shortest prompt has 41).
  const std::size_t words = tokenizer_of("smollm2").encode("a few words", false).size();
  BOOST_TEST(words == 3u);
  BOOST_TEST(refusal({.tokens = 43}) == "no error");
  BOOST_TEST(mentions(refusal({.tokens = 44}), {"too short", "it has 3 tokens", "a prompt of 44 needs 4 of it"}));
  BOOST_TEST(mentions(refusal({.tokens = 40}), {"a prompt of 40 tokens", "take 40", "at least 41"}));
  BOOST_TEST(
      mentions(refusal({.tokens = 0, .request = "", .chat_template = false}), {"a prompt of 0 tokens", "at least 1"}));
  BOOST_TEST(mentions(error_text([] { make_prompt(tokenizer_of("smollm2"), "a", {.tokens = 99}, "short.txt"); }),
                      {"short.txt"}));
}

BOOST_AUTO_TEST_CASE(a_tokeniser_without_a_template_or_its_tokens_is_refused) {
  Vocabulary vocabulary = read_tokenizer_directory(fs::path(FPF_FIXTURES) / "tokens" / "small_whole");
  const Tokenizer small = Tokenizer::from_vocabulary(vocabulary);
  BOOST_TEST(mentions(error_text([&] { make_prompt(small, "a b c", {.tokens = 60}); }),
                      {"no chat template", "--no-chat-template", "--prompt-ids"}));
  vocabulary.chat_template = template_of("smollm2");
  BOOST_TEST(mentions(error_text([&] { make_prompt(Tokenizer::from_vocabulary(vocabulary), "a b c", {.tokens = 60}); }),
                      {"<|im_start|>", "--no-chat-template"}));
  BOOST_TEST(make_prompt(small, "a b c", {.tokens = 2, .request = "", .chat_template = false}).token_ids.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_prompt_file_is_read_back) {
  const json& row = expected()["prompts"][5];
  const Prompt prompt =
      make_prompt(tokenizer_of(row["model"]), expected()["document"].get<std::string>(), options_of(row));
  write_prompt_file("prompt.json", prompt, {"doc\xff.txt", "tokens", options_of(row)});
  const Prompt read = read_prompt_ids("prompt.json");
  BOOST_TEST(read.token_ids == prompt.token_ids, boost::test_tools::per_element());
  BOOST_TEST(read.text == prompt.text);
  BOOST_TEST(read.sha256 == row["sha256"].get<std::string>());

  std::ofstream("ids.json") << row["ids"];
  BOOST_TEST(read_prompt_ids("ids.json").sha256 == row["sha256"].get<std::string>());
  BOOST_TEST(read_prompt_ids("ids.json").text == "");
}

BOOST_AUTO_TEST_CASE(files_that_hold_no_ids_are_named) {
  const auto complaint = [](const std::string& content) {
    std::ofstream("given.json") << content;
    return error_text([] { read_prompt_ids("given.json"); });
  };
  BOOST_TEST(mentions(complaint("1, 2"), {"given.json", "not JSON"}));
  BOOST_TEST(mentions(complaint("{}"), {"given.json", "prompt_token_ids"}));
  BOOST_TEST(mentions(complaint("[]"), {"given.json", "empty"}));
  BOOST_TEST(mentions(complaint("[1, -2]"), {"number 1 is -2"}));
  BOOST_TEST(mentions(complaint("[1.5]"), {"number 0 is 1.5"}));
  BOOST_TEST(mentions(complaint("[\"1\"]"), {"number 0 is \"1\""}));
  BOOST_TEST(mentions(complaint("[4294967296]"), {"4294967296", "2147483647"}));
  BOOST_TEST(mentions(complaint(R"({"prompt_token_ids": [1], "prompt_sha256": "00"})"),
                      {"prompt_sha256", "\"00\"", "digest"}));
  BOOST_TEST(mentions(error_text([] { read_prompt_ids("nowhere.json"); }), {"nowhere.json"}));
  BOOST_TEST(mentions(complaint("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
                      {"given.json", "Git LFS pointer"}));
  BOOST_TEST(complaint("\xef\xbb\xbf[1, 2]") == "no error");
}

namespace {

/// Runs make_prompt; its exit code, and its stderr in `said`.
int run(const std::string& arguments, std::string* said = nullptr) {
  const int status =
      std::system((std::string(FPF_BIN) + "/make_prompt " + arguments + " >stdout.txt 2>stderr.txt").c_str());
  std::stringstream text;
  text << std::ifstream("stderr.txt").rdbuf();
  if (said != nullptr) *said = text.str();
  return WEXITSTATUS(status);
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_program_writes_what_the_library_makes) {
  const auto& row = expected()["prompts"][3];
  std::ofstream("document.txt") << expected()["document"].get<std::string>();
  const std::string common =
      "--tokenizer " + model_file("SmolLM2-135M-Instruct.Q4_1.gguf").string() + " --prompt-text document.txt ";
  BOOST_REQUIRE(run(common + fmt::format("--prompt-tokens {} --out written.json", row["tokens"].get<int>())) == 0);
  BOOST_TEST(read_prompt_ids("written.json").sha256 == row["sha256"].get<std::string>());
  BOOST_REQUIRE(run(common + fmt::format("--prompt-tokens {}", row["tokens"].get<int>())) == 0);
  BOOST_TEST(read_prompt_ids("stdout.txt").sha256 == row["sha256"].get<std::string>());
  const json written = json::parse(std::ifstream("written.json"));
  BOOST_TEST(written["template_renderer"] == "native");
  BOOST_TEST(written["template_sha256"] == sha256_hex(template_of("smollm2")));
  BOOST_TEST(written["template_date"].is_null());
  BOOST_TEST(written["add_special_tokens"] == true);
  BOOST_REQUIRE(run(common + "--prompt-tokens 30 --no-chat-template --out written.json") == 0);
  BOOST_TEST(json::parse(std::ifstream("written.json"))["template_renderer"] == "none");
}

BOOST_AUTO_TEST_CASE(the_program_makes_6144_tokens_of_a_real_pdf) {
  const std::string common = "--tokenizer " + model_file("SmolLM2-135M-Instruct.Q4_1.gguf").string() + " --prompt-pdf ";
  for (const char* name : {"bashref.pdf", "policy.pdf.gz"}) {
    BOOST_REQUIRE(run(common + (fs::path(FPF_BUILD) / "documents" / name).string() + " --out real.json") == 0);
    BOOST_TEST(read_prompt_ids("real.json").token_ids.size() == 6144u);  // the default of --prompt-tokens
  }
}

BOOST_AUTO_TEST_CASE(the_program_refuses_with_exit_code_2_and_leaves_no_file) {
  std::ofstream("document.txt") << expected()["document"].get<std::string>();
  const std::string gguf = "--tokenizer " + model_file("SmolLM2-135M-Instruct.Q4_1.gguf").string();
  const auto refused = [&](const std::string& arguments, std::initializer_list<std::string> words) {
    fs::remove("refused.json");
    std::string said;
    BOOST_TEST(run(arguments + " --out refused.json", &said) == 2, arguments);
    BOOST_TEST(mentions(said, words), said);
    BOOST_TEST(!fs::exists("refused.json"));
  };
  refused("", {"--tokenizer is missing"});
  refused(gguf, {"exactly one of --prompt-pdf and --prompt-text"});
  refused(gguf + " --prompt-pdf a --prompt-text b", {"exactly one"});
  refused(gguf + " --prompt-text document.txt --prompt-tokens 0", {"--prompt-tokens 0", "positive"});
  refused(gguf + " --prompt-text document.txt --prompt-tokens -5", {"--prompt-tokens -5", "positive"});
  refused(gguf + " --prompt-text document.txt --prompt-tokens many", {"prompt-tokens", "many"});
  refused(gguf + " --prompt-text document.txt", {"document.txt is too short", "it has 219 tokens", "6144"});
  refused(gguf + " --prompt-text document.txt --thinking perhaps", {"--thinking perhaps", "on or off"});
  refused(gguf + " --prompt-text document.txt --add-special-tokens some", {"--add-special-tokens some", "on or off"});
  refused(gguf + " --prompt-text document.txt --template-date 1.2.2024", {"--template-date 1.2.2024", "YYYY-MM-DD"});
  refused(gguf + " --prompt-pdf document.txt", {"document.txt is no PDF"});
  refused(gguf + " --prompt-text nothing.txt", {"nothing.txt"});
  refused("--tokenizer document.txt --prompt-text document.txt", {"document.txt is no tokeniser"});
  refused(gguf + " --prompt-text document.txt --frobnicate", {"frobnicate", "--help"});
  std::string said;
  BOOST_TEST(run(gguf + " --prompt-text document.txt --prompt-tokens 50 --out no/such/folder/x.json", &said) == 2);
  BOOST_TEST(mentions(said, {"no/such/folder/x.json"}), said);
}

BOOST_AUTO_TEST_CASE(the_program_ends_with_exit_code_130_when_interrupted) {
  bool interrupted = false;
  for (int attempt = 0; attempt < 50 && !interrupted; ++attempt) {  // until the signal meets it at work
    fs::remove("interrupted.json");
    Child child({FPF_BIN "/make_prompt", "--tokenizer", model_file("SmolLM2-135M-Instruct.Q4_1.gguf").string(),
                 "--prompt-pdf", (fs::path(FPF_BUILD) / "documents" / "bashref.pdf").string(), "--out",
                 "interrupted.json"});
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + 10 * attempt));
    child.send(SIGINT);
    const Outcome outcome = child.wait();
    interrupted = outcome.code == 130 && outcome.err == "make_prompt: interrupted\n";
  }
  BOOST_TEST(interrupted);
  BOOST_TEST(!fs::exists("interrupted.json"));
}

BOOST_AUTO_TEST_SUITE_END()
