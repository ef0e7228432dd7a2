// Experiment<>: what a run computes and how often, and which baselines fit it.
#include <boost/test/unit_test.hpp>
#include <fpf/experiment.hpp>
#include <fpf/experiment/baseline.hpp>
#include <fstream>
#include <map>

#include "compiled.hpp"
#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_experiment)

using namespace fpf;

namespace {

const std::filesystem::path fixtures = FPF_FIXTURES;

/// Flash attention that notes how many positions each call computes.
struct Counting {
  static constexpr std::string_view name = "counting";
  inline static std::vector<std::int64_t> calls;

  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
    calls.push_back(q.size(2));
    return attention::Flash::attend(q, k, v, scale);
  }
};

std::vector<std::int32_t> prompt_of(const std::string& model) {
  return nlohmann::json::parse(std::ifstream(fixtures / "parity" / model / "prompt.json"));
}

RunSettings settings_of(std::vector<std::int64_t> layers, std::int64_t steps) {
  RunSettings out;
  out.layers = std::move(layers);
  out.decode_steps = steps;
  return out;
}

}  // namespace

// Decode is real: the prompt goes through each layer once, then one position a step, and nothing is computed
// twice for the three positions that a step shows.
BOOST_AUTO_TEST_CASE(every_position_is_computed_once) {
  const auto checkpoint = model::Checkpoint::open((fixtures / "parity" / "llama_tied").string());  // 4 layers
  const auto prompt = prompt_of("llama_tied");
  Experiment<quant::None, Counting> experiment(checkpoint, settings_of({0, 3}, 5));
  Counting::calls.clear();
  const auto signals = experiment.run({prompt}).signals;
  std::vector<std::int64_t> expected(4, static_cast<std::int64_t>(prompt.size()));
  expected.insert(expected.end(), 5 * 4, 1);
  BOOST_TEST(Counting::calls == expected, boost::test_tools::per_element());
  for (const auto& layer : signals.layers) {
    BOOST_TEST(layer.hidden.rows() == 5 + 2);
    BOOST_TEST(layer.keys.rows() == 5 + 2);
  }
  BOOST_TEST(signals.logprobs.ids.size() == static_cast<std::size_t>((5 + 2) * signals.logprobs.k));
}

// What is recorded changes nothing of what is computed.
BOOST_AUTO_TEST_CASE(recording_more_layers_leaves_the_others_as_they_are) {
  const auto checkpoint = model::Checkpoint::open((fixtures / "parity" / "qwen3_moe_raw").string());  // 3 layers
  const auto prompt = prompt_of("qwen3_moe_raw");
  const auto few = Experiment<>(checkpoint, settings_of({1}, 4)).run({prompt}).signals;
  const auto all = Experiment<>(checkpoint, settings_of({0, 1, 2}, 4)).run({prompt}).signals;
  BOOST_TEST(few.token_ids == all.token_ids, boost::test_tools::per_element());
  BOOST_TEST((few.layers[0].hidden.bytes == all.layers[1].hidden.bytes));
  BOOST_TEST((few.layers[0].keys.bytes == all.layers[1].keys.bytes));
  BOOST_TEST((few.layers[0].router->weights == all.layers[1].router->weights));
  BOOST_TEST((few.logprobs.values == all.logprobs.values));
}

BOOST_AUTO_TEST_CASE(a_baseline_of_something_else_is_refused_by_name) {
  const Json metadata = {
      {"experiment_type", "reference"}, {"model", "SmolLM2"}, {"model_architecture", "LlamaForCausalLM"},
      {"sequence_length", 1054},        {"decode_steps", 30}, {"extraction_config", {{"layers", {1, 29}}}}};
  const auto write = [&](const Json& changed, const std::string& prompt) {
    Json file = {{"experiment_metadata", metadata},
                 {"configurations", {{{"config_id", "a"}, {"hardware", "H100"}}}},
                 {"runs", {{{"config_id", "a"}, {"prompt_sha256", prompt}, {"decode_steps", Json::array()}}}}};
    file["experiment_metadata"].update(changed);
    std::ofstream("baseline.json") << file.dump();
  };
  const auto complaint = [&](bool any_checkpoint = false) {
    return error_text(
        [&] { Baseline::read("baseline.json").require_match("baseline.json", metadata, {"p"}, any_checkpoint); });
  };
  write(Json::object(), "p");
  BOOST_TEST(complaint() == "no error");
  write({{"model", "Qwen3"}}, "p");
  BOOST_TEST(mentions(complaint(), {"baseline.json", "model", "Qwen3", "SmolLM2"}), complaint());
  BOOST_TEST(complaint(true) == "no error");
  const std::map<std::string, Json> others{{"model_architecture", "Qwen3ForCausalLM"},
                                           {"sequence_length", 1053},
                                           {"decode_steps", 29},
                                           {"extraction_config", {{"layers", {1, 28}}}}};
  for (const auto& [field, value] : others) {
    write({{field, value}}, "p");
    const bool whole = !value.is_object();  // else the innermost field is named
    BOOST_TEST(mentions(complaint(true), {"baseline.json", whole ? field : field + ".layers is [1,28]",
                                          whole ? value.dump() : "[1,29]"}),
               complaint(true));
  }
  write(Json::object(), "q");
  BOOST_TEST(mentions(complaint(), {"baseline.json", "another prompt"}), complaint());
  write({{"experiment_type", "batch_size"}}, "p");
  BOOST_TEST(mentions(complaint(), {"baseline.json", "batch_size", "experiment 0"}), complaint());
  BOOST_TEST(
      mentions(error_text([] { Baseline::read("nowhere.json"); }), {"nowhere.json", "exp0_reference", "--baseline"}));
}

BOOST_AUTO_TEST_SUITE_END()
