// How far the portable execution is from float64 at every layer: no farther than the default path.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/experiment/experiment.hpp>

#include "compiled.hpp"
#include "portable_model.hpp"
#include "portable_runs.hpp"
#include "signal_distance.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_accuracy)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

/// Relative L2 of a signal's rows from float64's, together.
double distance(const evidence::VectorRows& found, const evidence::VectorRows& exact) {
  const std::vector<float> values = floats(found);
  BOOST_REQUIRE_EQUAL(values.size() * 8, exact.bytes.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double wanted = 0;
    std::memcpy(&wanted, exact.bytes.data() + 8 * i, 8);
    difference += (values[i] - wanted) * (values[i] - wanted);
    norm += wanted * wanted;
  }
  return std::sqrt(difference / norm);
}

/// The same tokens through float64, the portable and the default path. The weights are the same numbers in all three: with
/// 16-bit activations int4 weights are rounded to them in the default path, so `format` none stands for those.
void check(const model::Checkpoint& checkpoint, DType dtype, const std::vector<std::int32_t>& prompt,
           std::int64_t steps, double slack) {
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const RunSettings settings = all_layers(checkpoint, dtype, steps);
    const auto decoder = portable_decoder(checkpoint, dtype);
    const evidence::Signals portable = portable_run(*decoder, settings, {prompt});
    const auto exact =
        slow::Model<double>::load<Quant>(checkpoint, dtype).run(prompt, int(steps), {}, portable.token_ids);
    const evidence::Signals eager = Experiment<Quant>(checkpoint, settings).run({prompt}, portable.token_ids).signals;
    for (std::size_t i = 0; i < exact.layers.size(); ++i) {
      const double own = distance(portable.layers[i].hidden, exact.layers[i].hidden);
      const double other = distance(eager.layers[i].hidden, exact.layers[i].hidden);
      BOOST_TEST_MESSAGE("layer " << i << ": hidden states " << own << ", default " << other << "; keys "
                                  << distance(portable.layers[i].keys, exact.layers[i].keys) << ", default "
                                  << distance(eager.layers[i].keys, exact.layers[i].keys));
      BOOST_TEST(own <= other * slack, "layer " << i << ": " << own << " from float64, the default path " << other);
      BOOST_TEST(distance(portable.layers[i].keys, exact.layers[i].keys) <=
                     distance(eager.layers[i].keys, exact.layers[i].keys) * slack,
                 "keys of layer " << i);
    }
  });
}

}  // namespace

BOOST_DATA_TEST_CASE(tiny_mixture_of_experts, data::make({"none", "awq", "gptq", "nf4"}), format) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen3-moe-tiny?seed=1&quant=" + std::string(format));
  check(checkpoint, DType::bfloat16, some_ids(20), 5, 1.0);
  check(checkpoint, DType::float32, some_ids(20), 5, 1.0);
}

BOOST_AUTO_TEST_CASE(smollm2) {
  const std::string file = FPF_BUILD "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(file)) return;
  check(model::Checkpoint::open(file), DType::float32, some_ids(24), 5, 1.0);
}

BOOST_AUTO_TEST_SUITE_END()
