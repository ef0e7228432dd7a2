// prompt/chat_template.hpp and prompt/jinja.hpp: texts, prompts and tokens that transformers gives
// (fixtures/make_chat_templates.py), and templates that must be refused or stopped.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <fpf/prompt/prompt_file.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "error_text.hpp"
#include "folders.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_chat_template)

using namespace fpf;
using namespace fpf::prompt;
using Ids = std::vector<std::int32_t>;

namespace {

const json& expected() {
  static const json file = json::parse(std::ifstream(fs::path(FPF_FIXTURES) / "prompts" / "templates.json"));
  return file;
}

ChatVariables variables_of(const json& row) {
  return {.tokens = row["tokens"].get<std::map<std::string, std::string>>(), .unknown_tokens = {}, .date = row["date"]};
}

std::string refusal(const std::string& jinja, const std::string& message = "A few words", bool thinking = false) {
  return error_text([&] { render_turn(jinja, {message, thinking}, {}); });
}

Tokenizer smollm2_with(const std::string& jinja) {
  Vocabulary vocabulary = smollm2_vocabulary();
  vocabulary.chat_template = jinja;
  return Tokenizer::from_vocabulary(std::move(vocabulary));
}

/// An environment variable for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name), before_(std::getenv(name)) {
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(templates_render_as_transformers_renders_them) {
  BOOST_TEST(expected()["templates"].size() >= 30u);
  std::string renderer;
  for (const json& row : expected()["templates"]) {
    std::vector<ChatMessage> messages;
    for (const json& message : row["messages"]) messages.push_back({message, row["thinking"]});
    const std::string jinja = row["template"];
    const auto chats = render_by_jinja(jinja, messages, variables_of(row), jinja_limits(1 << 16));
    BOOST_TEST(chats.texts == row["texts"].get<std::vector<std::string>>(), boost::test_tools::per_element());
    BOOST_TEST(chats.renderer.starts_with("jinja2 3."));
    BOOST_TEST((native_template(jinja) != nullptr) == (row["name"] == "smollm2"));
    if (row["name"] == "smollm2") BOOST_TEST(render_chats(jinja, messages, {}).texts == chats.texts);
  }
}

BOOST_AUTO_TEST_CASE(the_message_is_found_where_the_template_shows_it_once) {
  for (const json& row : expected()["templates"]) {
    const std::string message = row["messages"][1], text = row["texts"][1];  // with white space at both ends
    BOOST_TEST_CONTEXT(row["name"]) {
      const RenderedTurn turn = render_turn(row["template"], {message, row["thinking"]}, variables_of(row));
      const std::size_t shown = message.size() - turn.trimmed_left - turn.trimmed_right;
      BOOST_TEST(turn.before + message.substr(turn.trimmed_left, shown) + turn.after == text);
    }
  }
  // Which stands elsewhere in the template's text, too.
  const RenderedTurn turn = render_turn("a{{ messages[0].content }}aa", {"a", false}, {});
  BOOST_TEST(turn.before == "a");
  BOOST_TEST(turn.after == "aa");
}

BOOST_AUTO_TEST_CASE(the_models_own_template_is_recognised_whole) {
  const std::string jinja = smollm2_vocabulary().chat_template;
  BOOST_TEST(render_turn(jinja, {"Hi", false}, {}).renderer == "native");
  const RenderedTurn other = render_turn(jinja + "{# one comment more #}", {"Hi", false}, {});
  BOOST_TEST(other.renderer.starts_with("jinja2"));
  BOOST_TEST(other.before == render_turn(jinja, {"Hi", false}, {}).before);
}

BOOST_AUTO_TEST_CASE(what_a_template_must_not_do_is_refused_by_name) {
  const std::string content = "{{ messages[0].content }}", advice = "--prompt-ids";
  BOOST_TEST(mentions(refusal(""), {"no chat template", advice}));
  BOOST_TEST(mentions(refusal("x"), {"not at all", advice}));
  BOOST_TEST(mentions(refusal(content + content), {"more than once", advice}));
  BOOST_TEST(mentions(refusal("{{ messages[0].content | upper }}"), {"not at all or changed"}));
  BOOST_TEST(mentions(refusal("{{ messages[0].content | replace('few', 'many') }}"), {"changes the user's message"}));
  BOOST_TEST(mentions(refusal("{{ messages[0].content | length }}" + content), {"depends on the message"}));
  BOOST_TEST(
      mentions(refusal(content + "{{ raise_exception('No\nsuch role') }}"), {"refuses the prompt: No\\nsuch role"}));
  BOOST_TEST(mentions(refusal(content + "{{ strftime_now('%d') }}"), {"strftime_now", "--template-date YYYY-MM-DD"}));
  BOOST_TEST(mentions(refusal(content + "{{ [1, 2] | random }}"), {"at random"}));
  BOOST_TEST(mentions(refusal(content + "{{ lipsum() }}"), {"at random"}));
  BOOST_TEST(mentions(refusal("{% if %}"), {"cannot be rendered", "line 1"}));
  BOOST_TEST(mentions(refusal(content + "{% include 'other' %}"), {"cannot be rendered"}));
  BOOST_TEST(mentions(refusal(content + "{{ nothing.at.all }}"), {"UndefinedError"}));
  BOOST_TEST(mentions(refusal(content + "{{ '\\ud800' }}"), {"cannot be rendered"}));
  BOOST_TEST(mentions(error_text([&] {
                        render_turn(content + "{{ bos_token }}", {"a", false},
                                    {.tokens = {}, .unknown_tokens = {"bos_token"}, .date = ""});
                      }),
                      {"bos_token", "tokenizer_config.json"}));
}

BOOST_AUTO_TEST_CASE(the_sandbox_holds) {
  const std::string content = "{{ messages[0].content }}";
  for (const char* escape :
       {"{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch escaped') }}", "{{ namespace(__class__=1) }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
        "{% set ns = namespace() %}{% set ns.__init__ = 1 %}", "{{ messages.append(1) }}", "{{ tojson.__globals__ }}",
        "{{ dict.__call__.__globals__['sys'] }}"})
    BOOST_TEST(mentions(refusal(content + escape), {"chat template"}), escape);
  BOOST_TEST(!fs::exists("escaped"));
}

BOOST_AUTO_TEST_CASE(a_template_that_never_ends_or_takes_everything_is_stopped) {
  const auto complaint = [](const std::string& jinja, ChildLimits limits) {
    return error_text([&] { render_by_jinja("{{ messages[0].content }}" + jinja, {{"a", false}}, {}, limits); });
  };
  const std::string loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
  const auto start = std::chrono::steady_clock::now();
  BOOST_TEST(mentions(complaint(loops, {.cpu_seconds = 1}), {"stopped", "time", "1 s of the CPU"}));
  BOOST_TEST(mentions(complaint(loops, {.wall_seconds = 0.7}), {"stopped", "time", "0.7 s"}));
  BOOST_TEST((std::chrono::steady_clock::now() - start < std::chrono::seconds(30)));
  BOOST_TEST(mentions(complaint("{% set x = 'x' * 99999 * 99999 %}", {}), {"stopped", "memory"}));
  BOOST_TEST(mentions(complaint("{{ 'x' * 9999999 }}", {.output_bytes = 1 << 20}), {"stopped", "1048576 bytes"}));
  BOOST_TEST(mentions(complaint("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", {}), {"stopped", "depth of calls"}));
}

BOOST_AUTO_TEST_CASE(thinking_on_needs_a_template_that_makes_a_difference) {
  const std::string content = "{{ messages[0].content }}";
  BOOST_TEST(mentions(refusal(content, "a", true), {"--thinking on", "no such switch"}));
  BOOST_TEST(mentions(refusal(smollm2_vocabulary().chat_template, "a", true), {"--thinking on", "no such switch"}));
  BOOST_TEST(render_turn(content + "{{ enable_thinking }}", {"a", true}, {}).after == "True");
  BOOST_TEST(render_turn(content + "{{ enable_thinking }}", {"a", false}, {}).after == "False");
}

BOOST_AUTO_TEST_CASE(without_a_python_that_has_jinja2_the_template_is_refused_by_name) {
  const fs::path bare = fresh_folder("no_jinja");
  std::ofstream(bare / "python3") << "#!/bin/sh\necho 'no module named jinja2' >&2\nexit 1\n";
  fs::permissions(bare / "python3", fs::perms::owner_all);
  const auto ran = prompt::detail::jinja_answer((bare / "python3").string(), "{}", {});
  BOOST_TEST(ran["fault"] == "missing");
  BOOST_TEST(mentions(ran["what"].get<std::string>(), {"exit code 1", "no module named jinja2"}));
  BOOST_TEST(prompt::detail::jinja_answer("no/such/python3", "{}", {})["fault"] == "missing");
  const Variable path("PATH", fs::absolute(bare).string());
  BOOST_TEST(prompt::detail::pythons().back() == (fs::absolute(bare) / "python3").string());
  BOOST_TEST(mentions(error_text([] { prompt::detail::refuse_missing_jinja(" (none)"); }),
                      {"jinja2 3.1", "(none)", "--prompt-ids"}));
}

BOOST_AUTO_TEST_CASE(prompts_under_a_template_that_trims_are_what_it_renders) {
  for (const json& row : expected()["trimmed"]) {
    const Tokenizer tokenizer = smollm2_with(row["template"]);
    const std::string document = row["document"];
    for (const json& one : row["prompts"]) {
      const std::int64_t length = one[0];
      if (!one[1].is_null() && length % 2 != 0) continue;  // each is two processes
      const PromptOptions options{.tokens = length, .request = row["request"]};
      BOOST_TEST_CONTEXT(length << " tokens, request '" << options.request << "'") {
        if (one[1].is_null()) {
          BOOST_TEST(mentions(error_text([&] { make_prompt(tokenizer, document, options); }),
                              {fmt::format("a prompt of {} tokens is not possible", length), "trims",
                               fmt::format("--prompt-tokens {} or {} is", length - 1, length + 1)}));
          continue;
        }
        const Prompt prompt = make_prompt(tokenizer, document, options);
        BOOST_TEST(prompt.token_ids == one[1].get<Ids>(), boost::test_tools::per_element());
        BOOST_TEST(prompt.template_sha256 == sha256_hex(row["template"].get<std::string>()));
        BOOST_TEST(describe_prompt(prompt)["template_renderer"].get<std::string>().starts_with("jinja2 3."));
      }
    }
    const std::int64_t most = row["prompts"].back()[0];
    BOOST_TEST(
        mentions(error_text([&] { make_prompt(tokenizer, document, {.tokens = most + 1, .request = row["request"]}); }),
                 {"too short", fmt::format("it has {} tokens", row["prompts"].size())}));
  }
}

BOOST_AUTO_TEST_CASE(a_template_that_looks_at_the_messages_length_gives_no_prompt) {
  // Before and after are right around the whole document and around the word, wrong around the document that is cut.
  const Tokenizer tokenizer =
      smollm2_with("{{ messages[0].content }}{% if messages[0].content | length in range(28, 200) %}X{% endif %}");
  const std::string document(300, 'a');
  BOOST_TEST(mentions(error_text([&] { make_prompt(tokenizer, document, {.tokens = 10, .request = ""}); }),
                      {"changes with the message's length"}));
}

BOOST_AUTO_TEST_CASE(a_long_document_is_rendered_quickly) {
  std::string document;
  while (document.size() < 1'000'000) document += "Sums of floats depend on their order. ";
  const RenderedTurn turn = render_turn("<{{ messages[0].content | trim }}>", {document, false}, {});
  BOOST_TEST(turn.before == "<");
  BOOST_TEST(turn.trimmed_right == 1u);
}

BOOST_AUTO_TEST_CASE(the_date_is_that_of_the_option_and_stays_with_the_prompt) {
  const Tokenizer tokenizer = smollm2_with("{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}");
  const Prompt prompt =
      make_prompt(tokenizer, "one two three", {.tokens = 12, .request = "", .template_date = "2024-02-29"});
  BOOST_TEST(prompt.text.starts_with("29 Feb 2024 one"));
  BOOST_TEST(describe_prompt(prompt)["template_date"] == "2024-02-29");
  for (const char* date : {"2024-02-29", "1999-12-31"})
    BOOST_TEST(error_text([&] { prompt::detail::require_date("template-date", date); }) == "no error");
  for (const char* date :
       {"", "2023-02-29", "2024-13-01", "2024-1-1", "01.01.2024", "2024-00-10", "2024-01-0x", "0000-01-01"})
    BOOST_TEST(mentions(error_text([&] { prompt::detail::require_date("template-date", date); }),
                        {"--template-date", "YYYY-MM-DD"}));
}

BOOST_AUTO_TEST_CASE(raw_text_gets_what_transformers_puts_around_it) {
  const json base = json::parse(std::ifstream(fs::path(FPF_FIXTURES) / "tokens/small_whole/tokenizer.json"));
  int refused = 0;
  for (const json& row : expected()["surrounded"]) {
    const fs::path folder = fresh_folder("surrounded");
    json file = base;
    file["post_processor"] = row[0];
    std::ofstream(folder / "tokenizer.json") << file;
    std::ofstream(folder / "tokenizer_config.json") << row[1];
    const Tokenizer tokenizer = Tokenizer::from_directory(folder);
    const Ids ids = row[2];
    PromptOptions options{.tokens = static_cast<std::int64_t>(ids.size()), .request = "", .chat_template = false};
    BOOST_TEST_CONTEXT(row[0]) {
      if (!tokenizer.vocabulary().surrounding.unknown.empty()) {
        ++refused;
        BOOST_TEST(mentions(error_text([&] { make_prompt(tokenizer, "babaAA 12", options); }),
                            {"TemplateProcessing behind TemplateProcessing", "--add-special-tokens off"}));
      } else {
        const Prompt prompt = make_prompt(tokenizer, "babaAA 12", options);
        BOOST_TEST(prompt.token_ids == ids, boost::test_tools::per_element());
        BOOST_TEST(prompt.special_tokens + prompt.document_tokens == ids.size());
      }
      options.add_special_tokens = false;
      options.tokens = 5;
      BOOST_TEST(make_prompt(tokenizer, "babaAA 12", options).token_ids == (Ids{259, 257, 220, 16, 17}),
                 boost::test_tools::per_element());
    }
  }
  BOOST_TEST(refused == 1);
  const Surrounding other = read_post_processor({{"type", "Whatever"}});
  BOOST_TEST(mentions(other.unknown, {"unsupported post-processor Whatever", "TemplateProcessing"}));
}

BOOST_AUTO_TEST_CASE(gguf_says_what_stands_around_raw_text) {
  const std::vector<std::string_view> tokens{"a", "b", "ab", "<s>", "</s>"}, merges{"a b"};
  const auto around = [&](const char* pre, std::optional<bool> begin, std::optional<bool> end, bool ids = true) {
    weights::GgufMetadata metadata("small.gguf");
    metadata.add("tokenizer.ggml.model", std::string_view("gpt2"));
    metadata.add("tokenizer.ggml.pre", std::string_view(pre));
    metadata.add("tokenizer.ggml.tokens", tokens);
    metadata.add("tokenizer.ggml.token_type", std::vector<std::int64_t>{1, 1, 1, 3, 3});
    metadata.add("tokenizer.ggml.merges", merges);
    if (ids) metadata.add("tokenizer.ggml.bos_token_id", std::uint64_t{3});
    if (ids) metadata.add("tokenizer.ggml.eos_token_id", std::uint64_t{4});
    if (begin) metadata.add("tokenizer.ggml.add_bos_token", *begin);
    if (end) metadata.add("tokenizer.ggml.add_eos_token", *end);
    const Surrounding found = vocabulary_of(metadata).surrounding;
    return json{found.before, found.after, found.unknown.empty()};
  };
  BOOST_TEST(around("qwen2", {}, {}) == json({json::array(), json::array(), true}));
  BOOST_TEST(around("qwen2", true, true) == json({{3}, {4}, true}));
  BOOST_TEST(around("llama-bpe", {}, {}) == json({{3}, json::array(), true}));
  BOOST_TEST(around("llama-bpe", false, {}) == json({json::array(), json::array(), true}));
  BOOST_TEST(around("llama-bpe", {}, {}, false)[2] == false);
}

BOOST_AUTO_TEST_CASE(directories_are_read_as_transformers_reads_them) {
  const fs::path base = fs::path(FPF_FIXTURES) / "tokens/small_whole/tokenizer.json";
  for (const json& row : expected()["directories"]) {
    const fs::path folder = fresh_folder("directory");
    fs::copy_file(base, folder / "tokenizer.json");
    for (const auto& [name, content] : row[0].items()) {
      fs::create_directories((folder / name).parent_path());
      std::ofstream(folder / name) << (content.is_string() ? content.get<std::string>() : content.dump());
    }
    const Vocabulary vocabulary = read_tokenizer_directory(folder);
    BOOST_TEST(json(vocabulary.named_tokens) == row[1], row[0]);
    BOOST_TEST(vocabulary.chat_template == row[2].get<std::string>(), row[0]);
  }
  const fs::path folder = fresh_folder("directory");
  fs::copy_file(base, folder / "tokenizer.json");
  std::ofstream(folder / "tokenizer_config.json") << json{{"tokenizer_class", "OwnTokenizer"},
                                                          {"eos_token", "!"},
                                                          {"chat_template", "{{ messages[0].content + bos_token }}"}};
  BOOST_TEST(mentions(error_text([&] { make_prompt(Tokenizer::from_directory(folder), "a", {.tokens = 9}); }),
                      {"bos_token", "tokenizer_config.json"}));
  fs::remove(folder / "tokenizer_config.json");
  fs::create_directories(folder / "additional_chat_templates");
  std::ofstream(folder / "additional_chat_templates/rag.jinja") << "R";
  BOOST_TEST(mentions(error_text([&] { make_prompt(Tokenizer::from_directory(folder), "a", {.tokens = 9}); }),
                      {"none of them named default"}));
}

BOOST_AUTO_TEST_SUITE_END()
