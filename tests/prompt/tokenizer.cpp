// prompt/tokenizer.hpp and what it is made of: ids of the `tokenizers` package (fixtures/make_tokens.py) for
// real and small vocabularies, and tokenizer.json files that must be refused.
#include <boost/test/unit_test.hpp>
#include <fpf/prompt/tokenizer.hpp>
#include <fpf/prompt/tokenizer_digest.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "error_text.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_tokenizer)

using namespace fpf;
using namespace fpf::prompt;
using nlohmann::json;
namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

namespace {

const fs::path fixtures = fs::path(FPF_FIXTURES) / "tokens";

json read_rows(const fs::path& path) { return json::parse(std::ifstream(path)); }

/// A fixture's string: text, or {"hex": bytes} where the bytes are no UTF-8.
std::string bytes_of(const json& value) {
  if (value.is_string()) return value;
  const std::string hex = value.at("hex");
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

Ids parse_ids(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::int32_t>(stream), {}};
}

/// "document ids" or "document ids | template ids": checks both, returns how many strings differ.
struct Comparison {
  const Tokenizer& tokenizer;
  int compared = 0, different = 0;

  void operator()(const json& string, const std::string& expected) {
    const auto bar = expected.find(" | ");
    const std::string document = expected.substr(0, bar);
    check(string, document, false);
    check(string, bar == std::string::npos ? document : expected.substr(bar + 3), true);
  }

 private:
  void check(const json& string, const std::string& expected, bool special) {
    ++compared;
    const Ids ids = tokenizer.encode(bytes_of(string), special);
    if (ids == parse_ids(expected)) return;
    if (++different <= 5)
      BOOST_TEST_MESSAGE(string.dump() << (special ? " template" : " document") << ": " << json(ids));
  }
};

void check_column(const Tokenizer& tokenizer, std::size_t column) {
  Comparison compare{tokenizer};
  for (const json& row : read_rows(fixtures / "real.json")) compare(row[0], row[row[column] == "=" ? 1 : column]);
  BOOST_TEST(compare.compared >= 4000);
  BOOST_TEST(compare.different == 0);
}

Tokenizer smollm2_with(const char* pre_tokeniser, bool ignore_merges = false) {
  Vocabulary vocabulary = smollm2_vocabulary();
  vocabulary.pre_tokeniser = pre_tokeniser_named(pre_tokeniser);
  vocabulary.ignore_merges = ignore_merges;
  return Tokenizer::from_vocabulary(std::move(vocabulary));
}

const Tokenizer& qwen() {
  static const Tokenizer tokenizer = Tokenizer::from_vocabulary(qwen_vocabulary());
  return tokenizer;
}

/// A small tokenizer.json of the package, changed by `edit`, written and opened; what that complains about.
template <class Edit>
std::string complaint(const char* name, Edit&& edit) {
  json file = read_rows(fixtures / "small_flags" / "tokenizer.json");
  edit(file);
  fs::create_directories(name);
  std::ofstream(fs::path(name) / "tokenizer.json") << file;
  return error_text([&] { Tokenizer::from_directory(name); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(smollm2_from_gguf_gives_the_packages_ids) {
  check_column(Tokenizer::from_vocabulary(smollm2_vocabulary()), 1);
}
BOOST_AUTO_TEST_CASE(qwen_from_tiktoken_gives_the_packages_ids) { check_column(qwen(), 2); }
BOOST_AUTO_TEST_CASE(gpt2s_pre_tokeniser_gives_the_packages_ids) { check_column(smollm2_with("gpt2"), 3); }
BOOST_AUTO_TEST_CASE(llama3s_pre_tokeniser_gives_the_packages_ids) { check_column(smollm2_with("llama3", true), 4); }

BOOST_AUTO_TEST_CASE(files_that_the_package_wrote_give_its_ids) {
  for (const char* name : {"small_flags", "small_unknown", "small_whole", "small_removed"}) {
    BOOST_TEST_CONTEXT(name) {
      const Tokenizer tokenizer = Tokenizer::from_directory(fixtures / name);
      Comparison compare{tokenizer};
      for (const json& row : read_rows(fixtures / name / "expected.json")) compare(row[0], row[1]);
      BOOST_TEST(compare.compared >= 400);
      BOOST_TEST(compare.different == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(newer_files_and_older_ones_spell_merges_differently) {
  json file = read_rows(fixtures / "small_whole" / "tokenizer.json");
  const Tokenizer newer = Tokenizer::from_directory(fixtures / "small_whole");
  BOOST_REQUIRE(file["model"]["merges"][0].is_array());
  for (json& merge : file["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  std::ofstream("older.json") << file;
  const Tokenizer older = Tokenizer::from_json_file("older.json");
  for (const json& row : read_rows(fixtures / "small_whole" / "expected.json"))
    BOOST_REQUIRE(older.encode(bytes_of(row[0]), false) == newer.encode(bytes_of(row[0]), false));
}

BOOST_AUTO_TEST_CASE(decoding_undoes_encoding_where_every_byte_has_a_token_and_nothing_is_normalised) {
  Vocabulary vocabulary = qwen_vocabulary();
  vocabulary.nfc = false;
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(std::move(vocabulary));
  for (const json& row : read_rows(fixtures / "real.json")) {
    const std::string text = bytes_of(row[0]);
    BOOST_REQUIRE_EQUAL(tokenizer.decode(tokenizer.encode(text, false)), replace_invalid_utf8(text));
    BOOST_REQUIRE_EQUAL(tokenizer.decode(tokenizer.encode(text, true)), replace_invalid_utf8(text));
  }
}

BOOST_AUTO_TEST_CASE(tokens_are_named_and_found) {
  const Tokenizer smollm2 = Tokenizer::from_vocabulary(smollm2_vocabulary());
  BOOST_TEST(smollm2.vocab_size() == 49152u);  // llama.vocab_size in the file
  BOOST_TEST(smollm2.token_id("<|im_end|>").value() == 2);
  BOOST_TEST(!smollm2.token_id("no such token").has_value());
  BOOST_TEST(smollm2.token_text(2) == "<|im_end|>");
  const auto space_the = smollm2.token_id("\u0120the").value();
  BOOST_TEST(smollm2.token_text(space_the) == " the");
  BOOST_TEST(smollm2.token_text(-1) == "");
  BOOST_TEST(smollm2.token_text(49152) == "");
  const Ids emoji = qwen().encode("\U0001fae0", false);  // several tokens, none of them a character
  BOOST_REQUIRE(emoji.size() > 1);
  BOOST_TEST(qwen().token_text(emoji[0]) == "\ufffd");
  BOOST_TEST(qwen().decode(emoji) == "\U0001fae0");
}

BOOST_AUTO_TEST_CASE(runs_as_long_as_a_document_survive) {
  // Merges inside a run are local: 2^k copies of a token that doubles give the longest of the doublings,
  // repeated.
  const Tokenizer& tokenizer = qwen();
  for (const char* run : {"a", " ", "=", "中", "\u0301"}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += run;
    BOOST_TEST(tokenizer.decode(tokenizer.encode(text, false)) == text);
  }
}

BOOST_AUTO_TEST_CASE(marks_are_ordered_in_runs_of_any_length) {
  std::string above, below;
  for (int i = 0; i < 100'000; ++i) {
    above += "\u0301";  // class 230
    below += "\u0323";  // class 220
  }
  BOOST_TEST((nfc("q" + above + below) == "q" + below + above));
  BOOST_TEST(nfc("e\u0301\u0323") == "\u1eb9\u0301");  // the dot below composes first
  BOOST_TEST(nfc("\u1100\u1161\u11a8") == "\uac01");   // Hangul
  BOOST_TEST(nfc("\u212b") == "\u00c5");               // a singleton
  BOOST_TEST(nfc("\u0915\u093c") == "\u0915\u093c");   // a composition exclusion
}

BOOST_AUTO_TEST_CASE(ill_formed_bytes_are_replaced_as_python_does) {
  // python3 -c 'print(ascii(bytes.fromhex(...).decode("utf-8", "replace")))'
  BOOST_TEST(replace_invalid_utf8("a\xc3") == "a\ufffd");
  BOOST_TEST(replace_invalid_utf8("\xe2\x82\xe2\x82\xac") == "\ufffd\u20ac");
  BOOST_TEST(replace_invalid_utf8("\xed\xa0\x80") == "\ufffd\ufffd\ufffd");
  BOOST_TEST(replace_invalid_utf8("\xf0\x9f\x98") == "\ufffd");
  BOOST_TEST(replace_invalid_utf8("\xf4\x90\x80\x80") == "\ufffd\ufffd\ufffd\ufffd");
  BOOST_TEST(replace_invalid_utf8("\xc0\xaf\xf5") == "\ufffd\ufffd\ufffd");
}

BOOST_AUTO_TEST_CASE(unsupported_parts_are_refused_by_name) {
  BOOST_TEST(complaint("good", [](json&) {}) == "no error");
  const auto refused = [](const char* part, const json& value, std::initializer_list<std::string> words) {
    const std::string message = complaint("bad", [&](json& file) { file[json::json_pointer(part)] = value; });
    BOOST_TEST(mentions(message, words), message);
    BOOST_TEST(mentions(message, {"bad/tokenizer.json"}), message);
  };
  refused("/model/type", "Unigram", {"model", "Unigram", "BPE"});
  refused("/model/dropout", 0.1, {"dropout", "0.1"});
  refused("/model/byte_fallback", true, {"byte_fallback"});
  refused("/model/end_of_word_suffix", "</w>", {"end_of_word_suffix", "</w>"});
  refused("/model/merges", json::array(), {"no merges"});
  refused("/model/merges/0", "a b c", {"merge 0", "a b c"});
  refused("/model/merges/0", json{"a", "nonsense"}, {"nonsense", "not in the vocabulary"});
  refused("/model/unk_token", "<nope>", {"unknown token", "<nope>"});
  refused("/model/vocab/a", -3, {"\"a\"", "-3"});
  refused("/model/vocab/a", 1 << 30, {"\"a\"", "1073741824"});
  refused("/model/vocab/a", "one", {"not laid out as expected"});
  refused("/added_tokens/0/id", 7, {"<l>", "same id 7"});
  refused("/added_tokens/0/single_word", true, {"single_word", "<l>"});
  refused("/normalizer", {{"type", "NFKC"}}, {"normaliser", "NFKC"});
  refused("/normalizer/normalizers/0", {{"type", "Lowercase"}}, {"normaliser", "Lowercase"});
  refused("/pre_tokenizer", nullptr, {"pre-tokeniser", "ByteLevel"});
  refused("/pre_tokenizer/pretokenizers/0", {{"type", "Metaspace"}}, {"pre-tokeniser", "Metaspace"});
  refused("/pre_tokenizer/pretokenizers/0/behavior", "MergedWithNext", {"Split", "MergedWithNext"});
  refused("/pre_tokenizer/pretokenizers/0/pattern", {{"String", " "}}, {"Split", "Regex"});
  refused("/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\w+)", {"regular expression", R"(\w)"});
  refused("/pre_tokenizer/pretokenizers/0/pattern/Regex", "[a&&b]", {"regular expression", "class inside a class"});
  refused("/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a", {"cannot compile", "(a"});
  refused("/pre_tokenizer/pretokenizers/2", {{"type", "Digits"}}, {"Digits after ByteLevel"});
  refused("/decoder", {{"type", "WordPiece"}}, {"decoder", "WordPiece"});
}

BOOST_AUTO_TEST_CASE(a_missing_part_is_named) {
  BOOST_TEST(mentions(complaint("part", [](json& file) { file.erase("model"); }), {"part/tokenizer.json", "model"}));
  BOOST_TEST(mentions(complaint("part", [](json& file) { file["model"].erase("merges"); }), {"no merges"}));
  BOOST_TEST(mentions(complaint("part", [](json& file) { file["model"].erase("vocab"); }), {"no vocab"}));
  BOOST_TEST(mentions(complaint("part", [](json& file) { file = json::array(); }), {"part/tokenizer.json"}));
  std::ofstream("broken.json") << R"({"model": )";
  BOOST_TEST(mentions(error_text([] { Tokenizer::from_json_file("broken.json"); }), {"broken.json", "not JSON"}));
  fs::create_directories("empty_folder");
  BOOST_TEST(
      mentions(error_text([] { Tokenizer::from_directory("empty_folder"); }), {"empty_folder", "tokenizer.json"}));
  BOOST_TEST(mentions(error_text([] { Tokenizer::from_directory("nowhere"); }), {"nowhere", "not a directory"}));
}

BOOST_AUTO_TEST_CASE(a_tokenisers_digest_is_of_its_meaning) {
  const json file = read_rows(fixtures / "small_flags" / "tokenizer.json");
  const auto digest = [](const json& of, int indent = -1) {
    std::ofstream("digest.json") << of.dump(indent);
    return tokenizer_sha256(read_tokenizer_json("digest.json"));
  };
  const std::string own = digest(file);
  BOOST_TEST(own.size() == 64u);
  BOOST_TEST(digest(file, 4) == own);
  json same = file;
  for (json& merge : same["model"]["merges"]) {  // the other spelling of a merge
    const auto text =
        merge.is_string() ? merge.get<std::string>() : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    const auto space = text.find(' ');
    merge = merge.is_string() ? json{text.substr(0, space), text.substr(space + 1)} : json(text);
  }
  std::reverse(same["added_tokens"].begin(), same["added_tokens"].end());
  BOOST_TEST(digest(same) == own);
  std::set<std::string> all{own};
  const auto differs = [&](const char* place, const json& value) {
    json other = file;
    other[json::json_pointer(place)] = value;
    BOOST_TEST(all.insert(digest(other)).second, place);
  };
  differs("/normalizer", nullptr);
  differs("/added_tokens/0/special", !file["added_tokens"][0]["special"].get<bool>());
  differs("/added_tokens/0/lstrip", !file["added_tokens"][0]["lstrip"].get<bool>());
  differs("/added_tokens/0/rstrip", !file["added_tokens"][0]["rstrip"].get<bool>());
  differs("/added_tokens/0/normalized", !file["added_tokens"][0]["normalized"].get<bool>());
  differs("/model/ignore_merges", !file["model"].value("ignore_merges", false));
  differs("/model/unk_token", "a");
  differs("/pre_tokenizer/pretokenizers/0/pattern/Regex", "a");
  json other = file;
  std::swap(other["model"]["merges"][0], other["model"]["merges"][1]);
  BOOST_TEST(all.insert(digest(other)).second);
  other = file;
  std::swap(other["model"]["vocab"]["a"], other["model"]["vocab"]["b"]);
  BOOST_TEST(all.insert(digest(other)).second);
}

BOOST_AUTO_TEST_CASE(the_digests_bytes_are_those_that_its_comment_describes) {
  Vocabulary vocabulary;
  vocabulary.tokens = {"a", "b", "", "ab", "<x>"};
  vocabulary.merges = {"a b"};
  vocabulary.added = {{.id = 4, .content = "<x>", .special = true, .strip_right = true}};
  vocabulary.pre_tokeniser.splits = {SplitStep{Regex("[a-z]+"), SplitStep::Keep::matches}};
  vocabulary.pre_tokeniser.prefix_space = true;
  vocabulary.nfc = true;
  vocabulary.unknown_token = "a";
  BOOST_TEST(tokenizer_sha256(vocabulary) ==
             sha256_hex("fpf-tokenizer 1\ntoken 0 1:a\ntoken 1 1:b\ntoken 3 2:ab\ntoken 4 3:<x>\nmerge 3:a b\n"
                        "added 4 1001 3:<x>\nsplit 2 6:[a-z]+\nprefix_space 0\nnfc\nunknown 0 1:a\n"));
  vocabulary.chat_template = "{{ x }}";
  vocabulary.surrounding.before = {0};
  BOOST_TEST(tokenizer_sha256(vocabulary) == tokenizer_sha256([&] {
               Vocabulary bare = vocabulary;
               bare.chat_template.clear();
               bare.surrounding = {};
               return bare;
             }()));
}

BOOST_AUTO_TEST_CASE(a_directorys_configuration_names_tokens_and_template) {
  fs::create_directories("configured");
  fs::copy_file(fixtures / "small_flags" / "tokenizer.json", "configured/tokenizer.json",
                fs::copy_options::overwrite_existing);
  fs::remove("configured/chat_template.jinja");
  const json templates = {{{"name", "tools"}, {"template", "no"}}, {{"name", "default"}, {"template", "yes"}}};
  std::ofstream("configured/tokenizer_config.json")
      << json{{"bos_token", nullptr}, {"eos_token", {{"content", "<b>"}}}, {"chat_template", templates}};
  const Tokenizer listed = Tokenizer::from_directory("configured");
  BOOST_TEST(!listed.vocabulary().bos_id.has_value());
  BOOST_TEST(listed.vocabulary().eos_id.value() == listed.token_id("<b>").value());
  BOOST_TEST(listed.vocabulary().chat_template == "yes");
  std::ofstream("configured/chat_template.jinja") << "file";
  BOOST_TEST(Tokenizer::from_directory("configured").vocabulary().chat_template == "file");
}

BOOST_AUTO_TEST_CASE(gguf_metadata_that_fits_no_tokeniser_is_refused) {
  const std::vector<std::string_view> tokens{"a", "b", "ab"}, merges{"a b"};
  const auto complaint_of = [&](const char* model, const char* pre, std::vector<std::int64_t> types, bool with_merges) {
    weights::GgufMetadata metadata("small.gguf");
    metadata.add("tokenizer.ggml.model", std::string_view(model));
    metadata.add("tokenizer.ggml.pre", std::string_view(pre));
    metadata.add("tokenizer.ggml.tokens", tokens);
    metadata.add("tokenizer.ggml.token_type", std::move(types));
    if (with_merges) metadata.add("tokenizer.ggml.merges", merges);
    return error_text([&] { Tokenizer::from_vocabulary(vocabulary_of(metadata)); });
  };
  BOOST_TEST(complaint_of("gpt2", "smollm", {1, 1, 1}, true) == "no error");
  BOOST_TEST(mentions(complaint_of("llama", "default", {1, 1, 1}, true), {"tokenizer.ggml.model", "llama"}));
  BOOST_TEST(mentions(complaint_of("gpt2", "falcon", {1, 1, 1}, true), {"pre-tokeniser", "falcon", "smollm"}));
  BOOST_TEST(mentions(complaint_of("gpt2", "smollm", {1, 1}, true), {"token_type", "2", "3"}));
  BOOST_TEST(mentions(complaint_of("gpt2", "smollm", {1, 1, 1}, false), {"tokenizer.ggml.merges", "missing"}));
}

BOOST_AUTO_TEST_SUITE_END()
