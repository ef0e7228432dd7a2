// Readers of prompts (token ids, tokenisers, PDF, gzip, text) on files that are broken or made to break them, and what
// bounds them: a child process, and no more of a text tokenised than the prompt needs.
#include <boost/test/unit_test.hpp>
#include <fpf/prompt/prompt_file.hpp>
#include <fpf/prompt/prompt_from_document.hpp>

#include "error_text.hpp"
#include "folders.hpp"
#include "gguf_file.hpp"
#include "mutations.hpp"
#include "pdf_file.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_hostile_prompts)

using namespace fpf;
using namespace fpf::prompt;
using Ids = std::vector<std::int32_t>;

namespace {

const fs::path tokens = fs::path(FPF_FIXTURES) / "tokens";

fs::path tokeniser_folder(const char* name) {
  const auto folder = fresh_folder(name);
  fs::copy_file(tokens / "small_flags/tokenizer.json", folder / "tokenizer.json");
  return folder;
}

/// As a program does it: the files, then a text.
void tokenise_by(const fs::path& path) {
  const auto tokenizer = open_tokenizer(path);
  naming(path.string(), [&] { return tokenizer.encode("babaAA 12 \u00e9\u0301 <x> b", true); });
}

std::string refusal(const std::string& path) {
  return error_text([&] { document_text(path); });
}

/// A PDF whose page's content unpacks to `times` of `unit`, packed `rounds` times.
std::string packed_pdf(const std::string& unit, int times, int rounds) {
  std::string content;
  for (int i = 0; i < times; ++i) content += unit;
  std::string filters;
  for (int i = 0; i < rounds; ++i) {
    std::string out(compressBound(content.size()), '\0');
    uLongf size = out.size();
    compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(content.data()),
              content.size(), i == 0 ? 1 : 9);
    out.resize(size);
    content = std::move(out);
    filters += "/FlateDecode ";
  }
  std::string file = pdf({std::string(content.size(), '#')});
  const auto place = file.find("\nstream\n" + std::string(content.size(), '#')) + 8;
  file.replace(place, content.size(), content);
  return file.insert(file.rfind(" >>\nstream", place), fmt::format(" /Filter [{}]", filters));
}

/// A real document's text as often as it takes.
std::string real_text(std::size_t bytes) {
  static const std::string once = document_text(fs::path(FPF_BUILD) / "documents" / "bashref.pdf");
  std::string out;
  while (out.size() < bytes) out += once;
  return out;
}

const Tokenizer& smollm2() {
  static const auto one = Tokenizer::from_vocabulary(smollm2_vocabulary());
  return one;
}
const Tokenizer& qwen() {
  static const auto one = Tokenizer::from_vocabulary(qwen_vocabulary());
  return one;
}

}  // namespace

BOOST_AUTO_TEST_CASE(mutations_of_token_ids_are_read_or_refused_by_name) {
  Prompt prompt;
  prompt.text = "a";
  prompt.token_ids = {1, 22, 333};
  prompt.sha256 = prompt_sha256(prompt.token_ids);
  require_named_refusals({prompt_json(prompt, {}), "[1, 22, 333, 4000]"}, "ids.json", {"ids.json"},
                         [] { read_prompt_ids("ids.json"); });
}

BOOST_AUTO_TEST_CASE(mutations_of_tokenisers_are_read_or_refused_by_name) {
  std::vector<std::string> sound;
  for (const char* name : {"small_flags", "small_removed", "small_unknown", "small_whole"})
    sound.push_back(text_of(tokens / name / "tokenizer.json"));
  const auto folder = tokeniser_folder("mutated");
  require_named_refusals(
      sound, (folder / "tokenizer.json").string(), {folder.string()}, [&] { tokenise_by(folder); }, 1000);
  const std::string alone = (folder / "tokenizer.json").string();
  require_named_refusals(
      sound, alone, {alone}, [&] { tokenise_by(alone); }, 500);
}

BOOST_AUTO_TEST_CASE(mutations_of_a_tokenisers_other_files_are_read_or_refused_by_name) {
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const auto folder = tokeniser_folder("configured");
    require_named_refusals(
        {R"({"tokenizer_class":"GPT2TokenizerFast","bos_token":{"content":"<x>"},"eos_token":"<x>",)"
         R"("extra_special_tokens":{"image_token":"<i>"},"chat_template":"{{ messages[0].content }}"})",
         R"({"chat_template":[{"name":"rag","template":"a"},{"name":"default","template":"b"}],"pad_token":null})"},
        (folder / file).string(), {folder.string()}, [&] { tokenise_by(folder); }, 500);
  }
}

BOOST_AUTO_TEST_CASE(mutations_of_a_gguf_tokeniser_are_read_or_refused_by_name) {
  GgufContent content;
  content.text("tokenizer.ggml.model", "gpt2");
  content.text("tokenizer.ggml.pre", "qwen2");
  content.texts("tokenizer.ggml.tokens", {"a", "b", "ab", "<x>", "</x>"});
  content.texts("tokenizer.ggml.merges", {"a b"});
  content.numbers("tokenizer.ggml.token_type", {1, 1, 1, 3, 4});
  content.number("tokenizer.ggml.bos_token_id", 3);
  content.truth("tokenizer.ggml.add_bos_token", true);
  content.text("tokenizer.chat_template", "{{ messages[0].content }}");
  content.write("sound.gguf");
  require_named_refusals({text_of("sound.gguf")}, "t.gguf", {"t.gguf"}, [] { tokenise_by("t.gguf"); });
}

BOOST_AUTO_TEST_CASE(mutations_of_documents_are_read_or_refused_by_name) {
  const std::string two = pdf({line("first page") + line("again", 700), line("second page")});
  require_named_refusals(
      {two, packed_pdf(line("packed"), 20, 2), text_of(fs::path(FPF_FIXTURES) / "prompts/open.pdf")}, "d.pdf",
      {"d.pdf"}, [] { document_text("d.pdf", DocumentKind::pdf); }, 300);
  require_named_refusals(
      {gzip(two), gzip("some plain text, and some more of it")}, "d.gz", {"d.gz"}, [] { document_text("d.gz"); }, 600);
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(json_that_would_take_the_stack_or_the_memory_is_refused_before_it_is_parsed) {
  const auto ids_of = [](const std::string& json) {
    std::ofstream("ids.json") << json;
    return error_text([] { read_prompt_ids("ids.json"); });
  };
  const auto folder = tokeniser_folder("deep");
  for (const std::string& deep : deep_json()) {
    BOOST_TEST(mentions(ids_of("[1,2," + deep + "]"), {"ids.json", "nests deeper"}));
    std::string text = text_of(tokens / "small_whole/tokenizer.json");
    text.replace(text.rfind('}'), 1, ",\"normalizer\":" + deep + "}");
    std::ofstream(folder / "tokenizer.json") << text;
    BOOST_TEST(mentions(error_text([&] { tokenise_by(folder); }), {"tokenizer.json", "nests deeper"}));
    fs::copy_file(tokens / "small_whole/tokenizer.json", folder / "tokenizer.json",
                  fs::copy_options::overwrite_existing);
    std::ofstream(folder / "tokenizer_config.json") << "{\"chat_template\":" << deep << "}";
    BOOST_TEST(mentions(error_text([&] { tokenise_by(folder); }), {"tokenizer_config.json", "nests deeper"}));
    fs::remove(folder / "tokenizer_config.json");
  }
  BOOST_TEST(mentions(ids_of(wide_json()), {"ids.json", "memory"}));
}

BOOST_AUTO_TEST_CASE(what_a_forked_child_does_stays_there) {
  using End = ChildOutput::End;
  int here = 1;
  const auto run = [](auto work, ChildLimits limits = {}) { return run_forked("work", limits, work); };
  const auto said = run([&](std::string& out, std::string& err) {
    here = 2;
    out = std::string(1'000'000, 'o');
    err = "e";
    return 7;
  });
  BOOST_TEST((said.end == End::exited));
  BOOST_TEST(said.code == 7);
  BOOST_TEST(said.out.size() == 1'000'000u);
  BOOST_TEST(said.err == "e");
  BOOST_TEST(here == 1);
  const auto crashed = run([](std::string&, std::string&) { return ::raise(SIGSEGV); });
  BOOST_TEST((crashed.end == End::signalled));
  BOOST_TEST(crashed.code == SIGSEGV);
  const auto thrown = run([](std::string&, std::string&) -> int { throw std::runtime_error("what"); });
  BOOST_TEST(thrown.code == 125);
  BOOST_TEST(thrown.err == "what");
  const auto full = run(
      [](std::string& out, std::string&) {
        out.resize(std::size_t{200} << 20, 'x');
        return 0;
      },
      {.memory_bytes = rlim_t{100} << 20});
  BOOST_TEST(full.code == 126);
  const auto endless = run([](std::string&, std::string&) { return ::pause(); }, {.wall_seconds = 0.2});
  BOOST_TEST((endless.end == End::out_of_time));
}

BOOST_AUTO_TEST_CASE(a_pdf_that_takes_too_much_ends_with_a_clear_error) {
  const auto read = [](const std::string& file, const ChildLimits& limits) {
    return error_text([&] { prompt::detail::pdf_text_in_child(file, "bomb.pdf", nullptr, limits); });
  };
  const std::string words = packed_pdf(line("boom boom boom boom"), 300'000, 1);
  BOOST_TEST(mentions(read(words, {.memory_bytes = rlim_t{64} << 20}), {"bomb.pdf", "more than 64 MB of memory"}));
  const std::string spaces = packed_pdf(std::string(1'000'000, ' '), 500, 2);
  BOOST_TEST(mentions(read(spaces, {.wall_seconds = 60, .cpu_seconds = 1}), {"bomb.pdf", "more than 1 s of the CPU"}));
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += line("forty lines of more than forty characters", 760 - 15 * i);
  BOOST_TEST(mentions(read(pdf({lines}), {.output_bytes = 1000}), {"bomb.pdf", "1000 bytes of text"}));
  BOOST_TEST(read(pdf({line("fine")}), {}) == "no error");
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(long_documents_are_refused_before_they_take_the_memory) {
  std::string zeros;
  {
    z_stream stream{};
    deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string piece(std::size_t{1} << 20, '0'), out(std::size_t{1} << 20, '\0');
    for (int i = 0; i <= 200; ++i) {
      stream.next_in = reinterpret_cast<Bytef*>(piece.data());
      stream.avail_in = static_cast<uInt>(piece.size());
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      deflate(&stream, i == 200 ? Z_FINISH : Z_NO_FLUSH);
      zeros.append(out, 0, out.size() - stream.avail_out);
    }
    deflateEnd(&stream);
  }
  std::ofstream("zeros.gz", std::ios::binary) << zeros;
  BOOST_TEST(mentions(refusal("zeros.gz"), {"zeros.gz", "134217728 bytes unpacked"}));
  std::ofstream("long.txt") << "a";
  fs::resize_file("long.txt", std::size_t{200} << 20);  // sparse
  BOOST_TEST(mentions(refusal("long.txt"), {"long.txt", "209715200 bytes", "at most 134217728"}));
  BOOST_TEST(
      mentions(error_text([] { make_prompt(smollm2(), std::string(2'000'000, 'a'), {.tokens = 99}, "one_word.txt"); }),
               {"one_word.txt", "2000000 bytes without a place to part it"}));
}

BOOST_AUTO_TEST_CASE(the_start_of_a_text_has_the_ids_that_the_whole_gives) {
  std::vector<std::string> texts{real_text(300'000), "a b\t\tc  \n\n d\r\n" + std::string(70, ' ') + "e'll've 1234567"};
  for (const char* name : {"small_whole", "small_flags"}) {
    const json rows = json::parse(std::ifstream(tokens / name / "expected.json"));
    std::string all;
    for (const json& row : rows)
      for (const json& part : row)
        if (part.is_string()) all += part.get<std::string>();
    if (!all.empty()) texts.push_back(all);
  }
  std::vector<Tokenizer> tokenizers{smollm2(), qwen()};
  for (const char* name : {"small_flags", "small_removed", "small_unknown", "small_whole"})
    tokenizers.push_back(Tokenizer::from_json_file(tokens / name / "tokenizer.json"));
  for (const Tokenizer& tokenizer : tokenizers)
    for (const std::string& text : texts) {
      const Ids whole = tokenizer.encode(text, false);
      for (const std::size_t count :
           {std::size_t{1}, std::size_t{2}, std::size_t{17}, whole.size() / 3, whole.size()}) {
        const Ids start = tokenizer.encode_first(text, false, count);
        BOOST_TEST(start.size() >= std::min(count, whole.size()));
        BOOST_TEST((start.size() <= whole.size() && std::equal(start.begin(), start.end(), whole.begin())));
      }
    }
}

BOOST_AUTO_TEST_CASE(a_long_text_gives_the_prompt_of_the_whole_at_once) {
  const std::string text = "  \n" + real_text(8'000'000) + "\n \n";
  const Prompt raw = make_prompt(smollm2(), text, {.tokens = 6144, .request = "", .chat_template = false});
  BOOST_TEST(raw.document_tokens == 0u);
  BOOST_TEST(raw.token_ids.size() == 6144u);
  const Ids start = smollm2().encode(std::string_view(text).substr(0, 200'000), false);
  BOOST_TEST(std::equal(raw.token_ids.begin(), raw.token_ids.end(), start.begin()));
  BOOST_TEST(json::parse(prompt_json(raw, {}))["document"]["tokens"].is_null());

  // A template that trims sees the ends of a long text alone, and trims them as it would the whole's.
  for (const char* jinja : {"<{{ messages[0].content | trim }}>", "<{{ messages[0].content }}>"})
    for (const char* request : {"", "What?"}) {
      Vocabulary vocabulary = smollm2_vocabulary();
      vocabulary.chat_template = jinja;
      const auto tokenizer = Tokenizer::from_vocabulary(std::move(vocabulary));
      const PromptOptions options{.tokens = 500, .request = request};
      const Prompt of_long = make_prompt(tokenizer, text, options);
      const Prompt of_short = make_prompt(tokenizer, std::string_view(text).substr(0, 400'000), options);
      BOOST_TEST(of_long.token_ids == of_short.token_ids);
      BOOST_TEST(of_long.document_tokens == 0u);
      BOOST_TEST(of_short.document_tokens > 10'000u);
    }
}

BOOST_AUTO_TEST_CASE(normalisation_in_blocks_is_that_of_the_whole) {
  // Marks that reorder and compose, Hangul that composes, at every place of a block's end.
  std::string piece = "e\u0323\u0301a\u0308\u1100\u1161\u11a8\u0041\u030a\u4e2d\u0301z";
  std::string text, expected;
  for (int i = 0; i < 3000; ++i) {
    text += piece + std::string(static_cast<std::size_t>(i % 5), 'x');
    expected += nfc(piece) + std::string(static_cast<std::size_t>(i % 5), 'x');
  }
  BOOST_TEST(nfc(text) == expected);
  std::string marks = "a";
  for (int i = 0; i < 6000; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  BOOST_TEST(nfc(marks).starts_with("\u1ea1\u0323"));  // all dots below stand before all accents: one run of marks
}

BOOST_AUTO_TEST_SUITE_END()
