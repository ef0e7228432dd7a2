// prompt/tokenizer_writer.hpp: what it writes from a GGUF file's metadata gives the ids of the `tokenizers`
// package.
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/prompt/tokenizer.hpp>
#include <fpf/prompt/tokenizer_digest.hpp>
#include <fpf/prompt/tokenizer_writer.hpp>
#include <fstream>
#include <iterator>
#include <sstream>

#include "folders.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_tokenizer_writer)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

std::vector<std::int32_t> ids_in(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::int32_t>(stream), {}};
}

/// Ids of the `tokenizers` package (fixtures/make_tokens.py) for strings that are UTF-8; `column` of
/// real.json.
void check_ids(const prompt::Tokenizer& tokenizer, std::size_t column) {
  int compared = 0, different = 0;
  for (const json& row : json::parse(std::ifstream(FPF_FIXTURES "/tokens/real.json"))) {
    if (!row[0].is_string()) continue;
    const std::string expected = row[row[column] == "=" ? 1 : column];
    const auto bar = expected.find(" | ");
    ++compared;
    different += tokenizer.encode(row[0].get<std::string>(), false) != ids_in(expected.substr(0, bar));
    different += tokenizer.encode(row[0].get<std::string>(), true) !=
                 ids_in(bar == std::string::npos ? expected : expected.substr(bar + 3));
  }
  BOOST_TEST(compared > 2000);
  BOOST_TEST(different == 0);
}

/// SmolLM2's metadata with another pre-tokeniser; values are views of `file`.
weights::GgufMetadata smollm2_with(const weights::GgufFile& file, std::string_view pre) {
  weights::GgufMetadata out("edited");
  for (const auto key : file.metadata().keys())
    if (key != "tokenizer.ggml.pre") out.add(key, *file.metadata().find(key));
  out.add("tokenizer.ggml.pre", pre);
  return out;
}

}  // namespace

// SmolLM2's vocabulary under each pre-tokeniser that GGUF names and the fixture has.
BOOST_DATA_TEST_CASE(what_is_written_from_gguf_gives_the_packages_ids,
                     data::make({"smollm", "gpt2", "llama3"}) ^ data::make({1u, 3u, 4u}), pre, column) {
  const weights::GgufFile file(model_file("SmolLM2-135M-Instruct.Q4_1.gguf"));
  const auto metadata = smollm2_with(file, pre);
  const fs::path folder = fresh_folder("tokeniser");
  std::ofstream(folder / "tokenizer.json") << prompt::tokenizer_json(metadata);
  std::ofstream(folder / "tokenizer_config.json") << prompt::tokenizer_config_json(metadata);
  const auto tokenizer = prompt::Tokenizer::from_directory(folder);
  check_ids(tokenizer, column);
  const auto original = prompt::vocabulary_of(metadata);
  BOOST_TEST(tokenizer.vocabulary().chat_template == original.chat_template);
  BOOST_TEST((tokenizer.vocabulary().bos_id == original.bos_id));
  BOOST_TEST((tokenizer.vocabulary().eos_id == original.eos_id));
  BOOST_TEST((tokenizer.vocabulary().surrounding.before == original.surrounding.before));
  BOOST_TEST(tokenizer_sha256(tokenizer.vocabulary()) == tokenizer_sha256(original));
}

BOOST_AUTO_TEST_CASE(qwens_has_its_normaliser) {
  const weights::GgufFile file(model_file("SmolLM2-135M-Instruct.Q4_1.gguf"));
  const auto metadata = smollm2_with(file, "qwen2");
  const json written = prompt::tokenizer_json(metadata);
  BOOST_TEST(written["normalizer"]["type"] == "NFC");
  BOOST_TEST(written["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] == std::string(prompt::patterns::qwen2));
}

BOOST_AUTO_TEST_SUITE_END()
