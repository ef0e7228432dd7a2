// prompt/cuts.hpp: several prompts of one document.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fpf/prompt/cuts.hpp>

#include "error_text.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_cuts)

using namespace fpf;
using namespace fpf::prompt;

namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer one = Tokenizer::from_vocabulary(smollm2_vocabulary());
  return one;
}

/// Numbered sentences, so that a prompt's text says where it was cut.
const std::string& document() {
  static const std::string one = [] {
    std::string out;
    for (int i = 0; i < 3000; ++i) out += fmt::format("Sentence {} says what it says, and nothing else.\n", i);
    return out;
  }();
  return one;
}

PromptOptions options_of(std::int64_t tokens) {
  PromptOptions out;
  out.tokens = tokens;
  return out;
}

std::vector<Prompt> cuts(std::int64_t count, std::uint64_t seed, std::int64_t tokens = 128) {
  return cut_prompts(tokenizer(), {{"doc.txt", document()}}, options_of(tokens), {count, seed});
}

/// The text between what the template puts before the document and the request.
std::string part_of(const Prompt& prompt) {
  const auto begin = prompt.text.rfind("<|im_start|>user\n") + 17, end = prompt.text.find("\n\nProvide a summary");
  return prompt.text.substr(begin, end - begin);
}

}  // namespace

// C++23, [rand.predef]: the 10,000th draw of a default-constructed mt19937_64.
BOOST_AUTO_TEST_CASE(the_generator_is_the_standards) {
  std::mt19937_64 generator;
  generator.discard(9999);
  BOOST_TEST(generator() == 9981545732273789042u);
}

BOOST_AUTO_TEST_CASE(one_prompt_is_of_the_beginning_and_says_no_offset) {
  const auto one = cuts(1, 0);
  BOOST_REQUIRE_EQUAL(one.size(), 1u);
  BOOST_TEST((one[0].token_ids == make_prompt(tokenizer(), document(), options_of(128)).token_ids));
  BOOST_TEST(!one[0].document_offset.has_value());
}

// Each is the prompt of the document's text from its offset on, of exact length; read in the document's own text they
// follow one another without overlap.
BOOST_AUTO_TEST_CASE(prompts_are_of_parts_that_do_not_overlap) {
  for (const std::uint64_t seed : {0u, 1u, 2u}) {
    std::size_t end = 0;
    for (const Prompt& one : cuts(60, seed)) {
      BOOST_TEST(one.token_ids.size() == 128u);
      BOOST_REQUIRE(one.document_offset.has_value());
      const std::size_t offset = *one.document_offset;
      BOOST_TEST((one.token_ids ==
                  make_prompt(tokenizer(), std::string_view(document()).substr(offset), options_of(128)).token_ids));
      const std::string part = part_of(one);
      BOOST_TEST(document().substr(offset, part.size()) == part);  // this tokeniser gives a text back as it was
      BOOST_TEST(offset >= end);
      BOOST_TEST(document()[offset - 1] <= ' ');
      end = offset + part.size();
    }
  }
}

BOOST_AUTO_TEST_CASE(a_seed_gives_the_same_places_again_and_another_others) {
  const auto digests = [](std::uint64_t seed) {
    std::vector<std::string> out;
    for (const Prompt& one : cuts(5, seed)) out.push_back(one.sha256);
    return out;
  };
  BOOST_TEST(digests(7) == digests(7), boost::test_tools::per_element());
  BOOST_TEST((digests(7) != digests(8)));
}

// Of two places drawn among n, each equally likely, the lower lies a third of the way on average, with variance n^2 /
// 18 (order statistics of the uniform distribution): over 300 seeds a mean within five standard errors.
BOOST_AUTO_TEST_CASE(places_are_drawn_evenly) {
  double sum = 0;
  constexpr int seeds = 300;
  for (int seed = 0; seed < seeds; ++seed) {
    std::mt19937_64 generator(static_cast<std::uint64_t>(seed));
    const auto a = fpf::prompt::detail::draw_below(generator, 1000),
               b = fpf::prompt::detail::draw_below(generator, 1000);
    BOOST_TEST(std::max(a, b) < 1000u);
    sum += static_cast<double>(std::min(a, b));
  }
  BOOST_TEST(std::abs(sum / seeds - 1000.0 / 3) < 5 * 1000 / std::sqrt(18.0 * seeds));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused_with_what_would) {
  const std::string error = error_text([] { cuts(2000, 0); });
  BOOST_TEST(mentions(error, {"--prompts 2000", "doc.txt", "tokens", "fit"}), error);
  const auto fits = std::stoll(error.substr(error.find("about ") + 6));
  BOOST_TEST(cuts(fits, 0).size() == static_cast<std::size_t>(fits));  // what it says fits, does
}

BOOST_AUTO_TEST_CASE(a_document_that_repeats_itself_gives_no_two_equal_prompts) {
  std::string repeats;
  for (int i = 0; i < 4000; ++i) repeats += "again and ";
  const std::string error = error_text([&] { cut_prompts(tokenizer(), {{"doc.txt", repeats}}, options_of(64), {40, 3}); });
  BOOST_TEST(mentions(error, {"doc.txt", "alike", "--seed"}), error);
}

// A language without spaces is cut between characters.
BOOST_AUTO_TEST_CASE(a_text_without_white_space_is_cut_between_characters) {
  std::string text;
  for (unsigned i = 0; i < 12000; ++i) {  // three bytes a character, in no order that repeats
    const unsigned character = 0x4e00 + i * i % 5003;
    text += {static_cast<char>(0xe0 | character >> 12), static_cast<char>(0x80 | (character >> 6 & 0x3f)),
             static_cast<char>(0x80 | (character & 0x3f))};
  }
  for (const Prompt& one : cut_prompts(tokenizer(), {{"doc.txt", text}}, options_of(96), {4, 1})) {
    BOOST_TEST((static_cast<unsigned char>(text[*one.document_offset]) & 0xc0) != 0x80);
    BOOST_TEST(one.text.find("<|im_start|>user\n" + text.substr(*one.document_offset, 30)) != std::string::npos);
  }
}

// Of several documents each prompt is of the one whose digest it has, in their order, and parts do not overlap.
BOOST_AUTO_TEST_CASE(prompts_of_several_documents_are_drawn_over_all_of_them) {
  const std::string other = document().substr(0, document().size() / 3) + "An end of its own.\n";
  const std::vector<Document> both{{"long.txt", document()}, {"short.txt", other}};
  const auto drawn = [&](std::uint64_t seed) { return cut_prompts(tokenizer(), both, options_of(128), {40, seed}); };
  const auto found = drawn(4);
  BOOST_REQUIRE_EQUAL(found.size(), 40u);
  std::size_t document_of = 0, end = 0, of_each[2] = {};
  for (const Prompt& one : found) {
    if (one.document_sha256 == sha256_hex(both[1].text) && document_of == 0) document_of = 1, end = 0;
    const auto& [name, text] = both[document_of];
    BOOST_TEST(one.document_sha256 == sha256_hex(text));
    BOOST_REQUIRE(one.document_offset.has_value());
    BOOST_TEST(*one.document_offset >= end);
    const std::string_view rest = std::string_view(text).substr(*one.document_offset);
    BOOST_TEST((one.token_ids == make_prompt(tokenizer(), rest, options_of(128)).token_ids));
    end = *one.document_offset + part_of(one).size();
    ++of_each[document_of];
  }
  BOOST_TEST((of_each[0] > 0 && of_each[1] > 0));
  const auto again = drawn(4), others = drawn(5);
  BOOST_TEST(std::ranges::equal(found, again, {}, &Prompt::sha256, &Prompt::sha256));
  BOOST_TEST(!std::ranges::equal(found, others, {}, &Prompt::sha256, &Prompt::sha256));
}

// Of n places, of which k are of one document, m drawn without replacement have m k / n of it on average, with the
// hypergeometric distribution's variance: over 300 seeds a mean within five standard errors; never more than there are.
BOOST_AUTO_TEST_CASE(each_place_of_several_documents_is_equally_likely) {
  const std::string texts[] = {std::string(3000, 'a'), std::string(1000, 'b')};
  const Document a{"a", texts[0]}, b{"b", texts[1]};
  std::vector<fpf::prompt::detail::Room> rooms(2);
  for (fpf::prompt::detail::Room& one : rooms) one.a_place = 100;
  rooms[0].document = &a;
  rooms[1].document = &b;
  constexpr std::size_t places = 40, of_b = 10, draws = 30;
  double sum = 0;
  constexpr int seeds = 300;
  for (int seed = 0; seed < seeds; ++seed) {
    std::mt19937_64 generator(static_cast<std::uint64_t>(seed));
    const auto found = fpf::prompt::detail::draw_documents(generator, rooms, draws);
    BOOST_TEST(found[0] + found[1] == draws);
    BOOST_TEST((found[0] <= places - of_b && found[1] <= of_b));
    sum += static_cast<double>(found[1]);
  }
  constexpr double n = places, k = of_b, m = draws;
  const double variance = m * k / n * (n - k) / n * (n - m) / (n - 1);
  BOOST_TEST(std::abs(sum / seeds - m * k / n) < 5 * std::sqrt(variance / seeds));
}

BOOST_AUTO_TEST_CASE(several_documents_that_do_not_fit_are_refused_by_name) {
  const std::string half = document().substr(0, document().size() / 2);
  const auto refused = [](const std::vector<Document>& documents, std::int64_t count, std::vector<std::string> words) {
    const std::string error =
        error_text([&] { cut_prompts(tokenizer(), documents, options_of(128), {count, 1}); });
    for (const std::string& word : words) BOOST_TEST(error.find(word) != std::string::npos, error << ": " << word);
  };
  refused({{"a.txt", document()}, {"b.txt", document()}}, 4, {"a.txt and b.txt have the same text"});
  refused({{"a.txt", document()}, {"b.txt", "A few words."}}, 4, {"b.txt", "too short"});
  refused({{"a.txt", document()}, {"b.txt", half}}, 4000, {"--prompts 4000", "fit into these 2"});
}

BOOST_AUTO_TEST_SUITE_END()
