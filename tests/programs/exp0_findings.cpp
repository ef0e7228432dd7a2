// What exp0_reference finds: repetitions that differ, values that are no numbers.
#include <cmath>

#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_findings)

BOOST_AUTO_TEST_CASE(repetitions_that_differ_are_all_stored_and_the_place_is_named) {
  fresh_folder("out");
  const Outcome outcome = run(command({{"--inject-fault", "1,2,3"}}));  // repetition 1, step 2, layer 3
  BOOST_TEST(outcome.code == 3);
  BOOST_TEST(mentions(outcome.err, {"FINDING", "repetition 1", "step 2 (position 25), layer 3, hidden_states"}),
             outcome.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  require_recomputed();
  const json file = json::parse(text_of(fs::path("out") / result));
  BOOST_REQUIRE_EQUAL(file.at("runs").size(), 3u);
  const json& digests = file.at("runs").at(0).at("reproducibility").at("digests");
  for (int rep = 0; rep < 3; ++rep) {
    const json& one = file.at("runs").at(rep);
    BOOST_TEST(one.at("rep_id") == rep);
    BOOST_TEST(one.at("status") == "complete");
    BOOST_TEST(one.at("reproducibility").at("bit_exact") == false);
    BOOST_TEST(
        one.at("reproducibility").at("first_difference") ==
        json({{"rep_id", 1}, {"step", 2}, {"absolute_position", 25}, {"layer", 3}, {"signal", "hidden_states"}}));
    BOOST_TEST((digests.at(rep).at("hidden_states") == digests.at(0).at("hidden_states")) == (rep != 1));
    BOOST_TEST(digests.at(rep).at("key_vectors") == digests.at(0).at("key_vectors"));
    BOOST_TEST(digests.at(rep).at("logprobs") == digests.at(0).at("logprobs"));
  }
  const auto vector = [&](int rep) {
    return file.at("runs").at(rep).at("decode_steps").at(2).at("hidden_states").at("layer_3").at("pos_-1");
  };
  BOOST_TEST(vector(0) != vector(1));
  BOOST_TEST(vector(0) == vector(2));
  BOOST_TEST(run(command({{"--inject-fault", "1,2,3"}}, {"--quiet"})).err.find("FINDING") != std::string::npos);
}

// The embedding of a token that the model first chooses at step 3 becomes infinite: feeding it gives no
// number from layer 0 on, and all before stays as it was.
BOOST_AUTO_TEST_CASE(a_value_that_is_no_number_ends_the_run_where_it_is) {
  const auto model = copy_of("llama_untied", "model"), weights = model / "model.safetensors";
  const Options options{{"--model", model.string()},
                        {"--prompt-ids", (fixtures / "parity/llama_untied/prompt.json").string()}};
  const json clean = experiment(options).at("runs").at(0);
  std::set<int> seen = clean.at("prompt_token_ids");
  int step = 0;
  for (const json& one : clean.at("decode_steps"))
    if (!seen.insert(one.at("token_id").get<int>()).second || one.at("step") < 2)
      ++step;
    else
      break;
  BOOST_REQUIRE(step >= 2 && step < 6);
  const int token = clean.at("decode_steps").at(step).at("token_id");

  std::string bytes = text_of(weights);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const json embedding = json::parse(bytes.substr(8, header)).at("model.embed_tokens.weight");
  const auto at =
      8 + header + embedding.at("data_offsets").at(0).get<std::size_t>() + 4u * 72 * static_cast<std::size_t>(token);
  const float infinity = std::numeric_limits<float>::infinity();
  bytes.replace(at, 4, reinterpret_cast<const char*>(&infinity), 4);
  write(weights, bytes);

  fresh_folder("out");
  const Outcome outcome = run(command(options));
  BOOST_TEST(outcome.code == 3);
  const std::string place = fmt::format("step {} (position {}), layer 0, key_vectors", step, 23 + step);
  BOOST_TEST(mentions(outcome.err, {"FINDING", "no finite number", place}), outcome.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  const json file = json::parse(text_of(fs::path("out") / result));
  BOOST_REQUIRE_EQUAL(file.at("runs").size(), 1u);
  const json& broken = file.at("runs").at(0);
  BOOST_TEST(broken.at("status") == "non_finite");
  BOOST_TEST(broken.at("non_finite") ==
             json({{"step", step}, {"absolute_position", 23 + step}, {"layer", 0}, {"signal", "key_vectors"}}));
  BOOST_TEST(broken.at("reproducibility").at("bit_exact") == true);
  BOOST_REQUIRE_EQUAL(broken.at("decode_steps").size(), static_cast<std::size_t>(step));
  for (int s = 0; s < step; ++s) BOOST_TEST((broken.at("decode_steps").at(s) == clean.at("decode_steps").at(s)));
}

BOOST_AUTO_TEST_SUITE_END()
