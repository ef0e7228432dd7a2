// The decoder against Hugging Face transformers on tiny random models; tests/fixtures/make_parity.py made the
// values.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/execution/compiled.hpp>
#include <fpf/experiment.hpp>
#include <fstream>
#include <numeric>

#include "compiled.hpp"
#include "gguf_file.hpp"
#include "signal_distance.hpp"

BOOST_AUTO_TEST_SUITE(test_parity)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

const std::filesystem::path fixtures = FPF_FIXTURES "/parity";
const std::vector<std::string> models{
    "llama_tied", "llama_untied",           "qwen2_tied",   "qwen2_untied", "qwen3_untied",
    "qwen3_tied", "qwen3_moe_renormalised", "qwen3_moe_raw"};

/// What transformers computed in float32, by tensor name.
class Expected {
 public:
  explicit Expected(const std::string& model) : file_(fixtures / model / "expected.safetensors") {}

  template <class T>
  std::vector<T> get(const std::string& name) const {
    const auto values = file_.at(name).as<T>();
    return {values.begin(), values.end()};
  }

 private:
  weights::SafetensorsDirectory file_;
};

/// The model of that name in the fixtures, or that of a path.
template <class Attention = attention::Flash, class Execution = execution::Eager>
evidence::Signals run(const std::filesystem::path& model, DType dtype, const Expected& expected, bool forced,
                      std::size_t batch = 1) {
  const auto checkpoint = model::Checkpoint::open((fixtures / model).string());
  RunSettings settings;
  settings.layers.resize(static_cast<std::size_t>(checkpoint.config().num_layers));
  std::iota(settings.layers.begin(), settings.layers.end(), 0);
  const auto tokens = expected.get<std::int32_t>("tokens");
  settings.decode_steps = static_cast<std::int64_t>(tokens.size());
  settings.dtype = dtype;
  std::vector prompts(batch, expected.get<std::int32_t>("prompt_ids"));
  for (std::size_t b = 1; b < batch; ++b) std::ranges::reverse(prompts[b]);
  return Experiment<quant::None, Attention, parallel::Single, stream::Exclusive, Execution>(checkpoint, settings)
      .run(prompts, forced ? tokens : std::vector<std::int32_t>{})
      .signals;
}

void check_float32(const evidence::Signals& signals, const Expected& expected) {
  BOOST_TEST(signals.token_ids == expected.get<std::int32_t>("tokens"), boost::test_tools::per_element());
  for (const auto& layer : signals.layers) {
    const auto name = std::to_string(layer.layer);
    BOOST_TEST_CONTEXT("layer " << name) {
      BOOST_TEST(worst_row(floats(layer.hidden), expected.get<float>("hidden.layer_" + name), layer.hidden.width) <
                 1e-4);
      BOOST_TEST(worst_row(floats(layer.keys), expected.get<float>("key.layer_" + name), layer.keys.width) < 1e-4);
      if (!layer.router) continue;
      BOOST_TEST(layer.router->expert_ids == expected.get<std::int32_t>("router_ids.layer_" + name),
                 boost::test_tools::per_element());
      BOOST_TEST(relative_l2(layer.router->weights, expected.get<float>("router_weights.layer_" + name)) < 1e-4);
      BOOST_TEST(relative_l2(layer.router->margin, expected.get<float>("router_margin.layer_" + name)) < 1e-4);
    }
  }
  BOOST_TEST(signals.logprobs.ids == expected.get<std::int32_t>("logprobs_ids"), boost::test_tools::per_element());
  BOOST_TEST(worst_row(signals.logprobs.values, expected.get<float>("logprobs"), signals.logprobs.k) < 1e-4);
}

}  // namespace

BOOST_DATA_TEST_CASE(float32_signals_equal_those_of_transformers, data::make(models), name) {
  const Expected expected(name);
  check_float32(run(name, DType::float32, expected, false), expected);
}

BOOST_DATA_TEST_CASE(written_out_attention_gives_the_same, data::make(models), name) {
  const Expected expected(name);
  check_float32(run<attention::Eager>(name, DType::float32, expected, false), expected);
}

BOOST_DATA_TEST_CASE(fused_execution_gives_the_same, data::make(models), name) {
  const Expected expected(name);
  check_float32(run<attention::Flash, execution::Compiled>(name, DType::float32, expected, false), expected);
}

BOOST_DATA_TEST_CASE(neighbours_in_a_batch_do_not_reach_sequence_0, data::make(models), name) {
  const Expected expected(name);
  check_float32(run(name, DType::float32, expected, false, 3), expected);
}

BOOST_AUTO_TEST_CASE(biases_from_gguf_files_give_the_same) {
  const std::string name = "qwen2_tied";
  const auto config = nlohmann::json::parse(std::ifstream(fixtures / name / "config.json"));
  const std::filesystem::path file = std::filesystem::current_path() / "qwen2.gguf";
  gguf_of("qwen2", config, weights::SafetensorsDirectory(fixtures / name)).write(file);
  const Expected expected(name);
  check_float32(run(file, DType::float32, expected, false), expected);
}

namespace {

// Distances from transformers' float32 results, both fed its tokens: within 2e-2 over all rows, and no worse
// than twice what transformers itself loses in that dtype, over all rows and in the worst one.
template <class Execution>
void check_half_precision(const std::string& name, const std::string& dtype) {
  const Expected expected(name);
  std::ifstream file(fixtures / name / fmt::format("expected_{}.json", dtype));
  const nlohmann::json theirs = nlohmann::json::parse(file);
  const auto signals = run<attention::Flash, Execution>(name, parse_dtype(dtype), expected, true);
  for (const auto& layer : signals.layers) {
    const auto key = fmt::format("layer_{}", layer.layer);
    BOOST_TEST_CONTEXT(key) {
      for (const auto& [signal, rows] : {std::pair("hidden.", &layer.hidden), std::pair("key.", &layer.keys)}) {
        const auto ours = floats(*rows), reference = expected.get<float>(signal + key);
        const nlohmann::json& distance = theirs.at(signal + key);
        BOOST_TEST(relative_l2(ours, reference) < 2e-2);
        BOOST_TEST(relative_l2(ours, reference) <= 2 * distance.at("all_rows").get<double>());
        BOOST_TEST(worst_row(ours, reference, rows->width) <= 2 * distance.at("worst_row").get<double>());
      }
    }
  }
}

}  // namespace

BOOST_DATA_TEST_CASE(half_precision_is_as_close_as_transformers_own,
                     data::make(models) * data::make({"bfloat16", "float16"}), name, dtype) {
  check_half_precision<execution::Eager>(name, dtype);
}

BOOST_DATA_TEST_CASE(fused_half_precision_is_as_close_as_transformers_own,
                     data::make(models) * data::make({"bfloat16", "float16"}), name, dtype) {
  check_half_precision<execution::Compiled>(name, dtype);
}

BOOST_AUTO_TEST_SUITE_END()
