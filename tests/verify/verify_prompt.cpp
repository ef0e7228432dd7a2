// Evidence against the question that was asked.
#include <fpf/core/hash.hpp>

#include "verify.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_prompt)

namespace {

std::string digest(const json& ids) {
  const std::vector<std::int32_t> all = ids;
  return fpf::sha256_hex(std::as_bytes(std::span(all)));
}

Verified asked(const Strings& options) { return verified(Inputs::baseline(), {Inputs::model()}, options); }

}  // namespace

BOOST_AUTO_TEST_CASE(the_question_that_was_asked_is_accepted_and_named) {
  const std::string sha256 = digest(json::parse(ids(0)));
  for (const Strings& option : {Strings{"--prompt-ids", "inputs/ids0.json"}, Strings{"--prompt-sha256", sha256}}) {
    const Verified found = asked(option);
    BOOST_TEST(found.code == 0, found.out << found.err);
    const json& prompt = found.first().at("prompt");
    BOOST_TEST(prompt.at("held_against") == option.front() + " " + option.back());
    BOOST_TEST(prompt.at("is_what_was_asked") == true);
    BOOST_TEST(prompt.at("sha256") == sha256);
    BOOST_TEST(mentions(found.out, {"Prompt: 12 tokens", "Held against", ": the same"}), found.out);
  }
}

BOOST_AUTO_TEST_CASE(without_a_question_the_report_says_so) {
  const Verified found = asked({});
  BOOST_TEST(found.code == 0);
  BOOST_TEST(mentions(found.out, {"Prompt: 12 tokens", "not held against a question"}), found.out);
  BOOST_TEST(found.first().at("prompt").at("held_against").is_null());
  BOOST_TEST(found.first().at("prompt").at("sha256") == digest(json::parse(ids(0))));
}

BOOST_AUTO_TEST_CASE(the_answer_to_another_question_is_rejected_where_the_first_token_differs) {
  json other = json::parse(ids(0)), longer = other, shorter = other;
  other[7] = 3;
  longer.push_back(1);
  shorter.erase(11);
  write("other.json", other.dump());
  write("longer.json", longer.dump());
  write("shorter.json", shorter.dump());
  const std::vector<std::pair<Strings, Strings>> all{
      {{"--prompt-ids", "other.json"},
       {"another prompt than --prompt-ids other.json", "token 7 of its prompt is 410", "asked was 3"}},
      {{"--prompt-ids", "longer.json"}, {"12 tokens, 13 were asked", "first 12 are equal"}},
      {{"--prompt-ids", "shorter.json"}, {"12 tokens, 11 were asked", "first 11 are equal"}},
      {{"--prompt-sha256", digest(other)}, {"another prompt than --prompt-sha256", digest(json::parse(ids(0)))}}};
  for (const auto& [options, words] : all) {
    const Verified found = asked(options);
    BOOST_TEST(found.code == 3, found.out << found.err);
    BOOST_TEST(found.first().at("verdict") == "reject");
    BOOST_TEST(mentions(found.first().at("reason"), words), found.first().at("reason"));
    BOOST_TEST(!found.first().contains("decode"));
    BOOST_TEST(found.first().at("prompt").at("is_what_was_asked") == false);
  }
}

// Evidence of several prompts is held against as many questions, in any order.
BOOST_AUTO_TEST_CASE(several_prompts_are_held_against_the_questions_that_were_asked) {
  const auto of_both = [](const Strings& options) { return verified(many().string(), {Inputs::model()}, options); };
  const Verified both = of_both({"--prompt-ids", "inputs/ids4.json", "--prompt-ids", "inputs/ids0.json"});
  BOOST_TEST(both.code == 0, both.out << both.err);
  BOOST_REQUIRE_EQUAL(both.result.at("runs").size(), 4u);
  for (const json& run : both.result.at("runs")) BOOST_TEST(run.at("prompt").at("is_what_was_asked") == true);
  BOOST_TEST(mentions(both.out, {"prompt 0 of 2", "prompt 1 of 2"}), both.out);
  const std::string first = digest(json::parse(ids(0))), second = digest(json::parse(ids(4)));
  BOOST_TEST(of_both({"--prompt-sha256", first, "--prompt-sha256", second}).code == 0);
  for (const Strings& one : {Strings{"--prompt-ids", "inputs/ids0.json"}, Strings{"--prompt-sha256", first}}) {
    const Verified found = of_both(one);
    BOOST_TEST(found.code == 3);
    BOOST_TEST(found.first().at("prompt").at("is_what_was_asked") == true);
    BOOST_TEST(found.result.at("runs").at(1).at("verdict") == "reject");
    BOOST_TEST(mentions(found.result.at("runs").at(1).at("reason"), {"another prompt"}));
  }
}

// Tokens that a file says were forced are held against the file that forced them, where it is there.
BOOST_AUTO_TEST_CASE(forced_tokens_are_held_against_the_file_that_has_them) {
  json tokens = json::array();
  const json own = read(Inputs::baseline());
  for (const json& step : own.at("runs").at(0).at("decode_steps")) tokens.push_back(step.at("token_id"));
  tokens[2] = (tokens[2].get<int>() + 1) % 512;
  write("forced.json", tokens.dump());
  fresh_folder("forced");
  BOOST_REQUIRE_EQUAL(run(Inputs::command("exp0_reference", "forced", {"--tokens", "forced.json"})).code, 0);
  const std::string evidence = "forced/reference_baseline.json";
  const Verified alone = verified(evidence, {Inputs::model()});
  BOOST_TEST(alone.code == 0, alone.out << alone.err);
  BOOST_TEST(mentions(alone.out, {"held against none (--tokens FILE)"}), alone.out);
  const Verified held = verified(evidence, {Inputs::model()}, {"--tokens", "forced.json"});
  BOOST_TEST(held.code == 0, held.out << held.err);
  BOOST_TEST(!mentions(held.out, {"held against none"}), held.out);
  tokens[2] = (tokens[2].get<int>() + 1) % 512;
  write("others.json", tokens.dump());
  const Verified others = verified(evidence, {Inputs::model()}, {"--tokens", "others.json"});
  BOOST_TEST(others.code == 3);
  BOOST_TEST(mentions(others.first().at("reason"), {"step 2 was fed token", "--tokens others.json"}),
             others.first().at("reason"));
}

BOOST_AUTO_TEST_CASE(questions_that_are_none_are_refused) {
  write("text.txt", "words");
  const std::vector<std::pair<Strings, Strings>> all{
      {{"--prompt-ids", "inputs/ids0.json", "--prompt-sha256", std::string(64, '0')}, {"at most one", "found 2"}},
      {{"--prompt-sha256", "12"}, {"--prompt-sha256 12", "64"}},
      {{"--prompt-ids", "nowhere.json"}, {"nowhere.json"}},
      {{"--prompt-ids", ""}, {"--prompt-ids"}},
      {{"--prompt-text", "text.txt"}, {"no tokeniser", "--tokenizer"}},
      {{"--request", "Why?"}, {"--request", "--prompt-pdf"}},
      {{"--prompt-ids", "inputs/ids0.json", "--prompt-tokens", "12"}, {"--prompt-tokens", "--prompt-pdf"}}};
  for (const auto& [options, words] : all) {
    const Verified found = asked(options);
    BOOST_TEST(found.code == 2, options.front() << found.out << found.err);
    BOOST_TEST(mentions(found.err, words), found.err);
  }
}

BOOST_AUTO_TEST_SUITE_END()
