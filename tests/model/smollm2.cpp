// SmolLM2-135M-Instruct from its GGUF file against transformers on the same dequantised weights
// (fixtures/make_smollm2.py).
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/experiment.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <fstream>

#include "compiled.hpp"

BOOST_AUTO_TEST_SUITE(test_smollm2)

using namespace fpf;

namespace {

const nlohmann::json& expected() {
  static const auto json = nlohmann::json::parse(std::ifstream(FPF_SOURCE "/tests/model/fixtures/smollm2_greedy.json"));
  return json;
}

/// The model in float32, opened once for all cases.
struct Model {
  model::Checkpoint checkpoint =
      model::Checkpoint::open(FPF_BUILD "/models/" + expected().at("model").get<std::string>());
  Experiment<> experiment{checkpoint, settings()};

  static RunSettings settings() {
    RunSettings out;
    out.layers = {0, 29};
    out.decode_steps = 20;
    return out;
  }
  static Model& get() {
    static Model model;
    return model;
  }
};

}  // namespace

// The continuations keep at least 0.16 nats between each token and its runner-up, so rounding cannot decide
// one. A log-probability is a difference of float32 logits of magnitude 20 after 30 layers in two orders of
// summation: 1e-5 is found here. Anything rounded to 16 bits on the way still gives the same tokens, but is
// off by 1e-2 and more.
BOOST_DATA_TEST_CASE(greedy_continuations_equal_those_of_transformers, boost::unit_test::data::make({0, 1, 2}), index) {
  const nlohmann::json& prompt = expected().at("prompts").at(index);
  const auto ids = prompt.at("ids").get<std::vector<std::int32_t>>();
  Model& model = Model::get();
  const Repetition first = model.experiment.run({ids});
  BOOST_TEST(first.signals.token_ids == prompt.at("tokens").get<std::vector<std::int32_t>>(),
             boost::test_tools::per_element());

  const auto& logprobs = first.signals.logprobs;
  const auto wanted_ids = prompt.at("logprobs").at("ids").get<std::vector<std::int32_t>>();
  const auto wanted = prompt.at("logprobs").at("values").get<std::vector<double>>();
  BOOST_REQUIRE_EQUAL(logprobs.k, static_cast<std::int64_t>(wanted.size()));
  const auto last_of_prompt = wanted.size();  // row 1: the prompt's last position
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    BOOST_TEST(logprobs.ids[last_of_prompt + i] == wanted_ids[i]);
    BOOST_TEST(std::abs(logprobs.values[last_of_prompt + i] - wanted[i]) < 1e-3);
  }

  for (int repetition = 1; repetition < 3; ++repetition) {
    const Repetition again = model.experiment.run({ids});
    BOOST_TEST(again.signals.token_ids == first.signals.token_ids, boost::test_tools::per_element());
    BOOST_TEST((evidence::digests_of(again.signals) == evidence::digests_of(first.signals)));
    BOOST_TEST(!evidence::first_difference(first.signals, again.signals));
  }
}

BOOST_AUTO_TEST_CASE(its_vocabulary_reads_the_same_ids_from_the_texts) {
  const auto tokenizer =
      prompt::Tokenizer::from_vocabulary(prompt::vocabulary_of(Model::get().checkpoint.gguf()->metadata()));
  for (const auto& prompt : expected().at("prompts")) {
    BOOST_TEST(tokenizer.encode(prompt.at("text").get<std::string>(), true) ==
                   prompt.at("ids").get<std::vector<std::int32_t>>(),
               boost::test_tools::per_element());
    BOOST_TEST(tokenizer.decode(prompt.at("tokens").get<std::vector<std::int32_t>>()) ==
               prompt.at("continuation").get<std::string>());
  }
}

BOOST_AUTO_TEST_SUITE_END()
