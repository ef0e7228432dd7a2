// execution::Portable over emulated ranks: the same bits as one rank's, however uneven the cuts.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/tensor.hpp>
#include <fpf/quant/awq.hpp>
#include <fpf/quant/nf4.hpp>
#include <fpf/quant/schemes.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "compiled.hpp"
#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_ranks)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

template <class Quant, class Parallel>
evidence::Digests digests(const model::Checkpoint& checkpoint, int ranks, const std::string& placement = "contiguous",
                          DType dtype = DType::bfloat16) {
  RunSettings settings;
  settings.layers.resize(static_cast<std::size_t>(checkpoint.config().num_layers));
  std::iota(settings.layers.begin(), settings.layers.end(), 0);
  settings.decode_steps = 2;
  settings.dtype = dtype;
  settings.ranks = {.size = ranks, .placement = placement};
  std::vector<std::int32_t> prompt{7};
  while (prompt.size() < 20) prompt.push_back((prompt.back() * 1103 + 12345) % 500);
  Experiment<Quant, attention::Flash, Parallel, stream::Exclusive, execution::Portable> setup(checkpoint, settings);
  return evidence::digests_of(setup.run({prompt}).signals);
}

template <class Quant>
void check(const std::string& format) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen3-moe-tiny?seed=1&quant=" + format);
  const evidence::Digests one = digests<Quant, parallel::Single>(checkpoint, 1);
  for (const int ranks : {2, 3, 4})
    BOOST_TEST((digests<Quant, parallel::Tensor>(checkpoint, ranks) == one), format << ", TP " << ranks);
  for (const int ranks : {2, 4})
    for (const std::string placement : {"contiguous", "round_robin"})
      BOOST_TEST((digests<Quant, parallel::Expert>(checkpoint, ranks, placement) == one),
                 format << ", EP " << ranks << ", " << placement);
}

}  // namespace

// Biases divide with the rows that they are added to; 8 ranks hold each of 4 key-value heads twice.
BOOST_AUTO_TEST_CASE(biases_divide_too) {
  for (const std::string format : {"none", "awq&group_size=64"}) {
    const auto checkpoint = model::Checkpoint::open("synthetic:qwen2-tiny?seed=1&quant=" + format);
    quant::select(checkpoint.config().quantization, [&]<class Quant>() {
      const evidence::Digests one = digests<Quant, parallel::Single>(checkpoint, 1);
      for (const int ranks : {2, 3, 8})
        BOOST_TEST((digests<Quant, parallel::Tensor>(checkpoint, ranks) == one), format << ", TP " << ranks);
    });
  }
}

BOOST_AUTO_TEST_CASE(ranks_have_one_devices_bits) {
  check<quant::None>("none");
  check<quant::Awq>("awq");
  check<quant::Nf4>("nf4");
}

// float32 models add up floats: the same cuts, chains that are whole on one rank. Three ranks have 11, 11 and 10 of
// 32 heads, 256 of 768 columns, and key-value heads that two of them need.
BOOST_AUTO_TEST_CASE(float32_models_and_uneven_cuts) {
  const auto tiny = model::Checkpoint::open("synthetic:qwen3-moe-tiny?seed=1&quant=awq");
  BOOST_TEST((digests<quant::Awq, parallel::Tensor>(tiny, 3, "contiguous", DType::float32) ==
              digests<quant::Awq, parallel::Single>(tiny, 1, "contiguous", DType::float32)));
  nlohmann::json shape = nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/qwen3_30b_two_layers.json"));
  BOOST_REQUIRE((shape.at("num_attention_heads") == 32 && shape.at("moe_intermediate_size") == 768));
  shape.update(
      {{"hidden_size", 256}, {"head_dim", 32}, {"num_experts", 4}, {"num_experts_per_tok", 2}, {"vocab_size", 500}});
  std::ofstream("uneven.json") << shape.dump();
  for (const DType dtype : {DType::bfloat16, DType::float32}) {
    const auto uneven = model::Checkpoint::open("synthetic:uneven.json?seed=1&quant=awq");
    BOOST_TEST((digests<quant::Awq, parallel::Tensor>(uneven, 3, "contiguous", dtype) ==
                digests<quant::Awq, parallel::Single>(uneven, 1, "contiguous", dtype)));
  }
}

BOOST_AUTO_TEST_CASE(more_ranks_than_heads_are_refused) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen3-moe-tiny?seed=1");
  const auto heads = static_cast<int>(checkpoint.config().num_heads);
  const std::string message = error_text([&] { digests<quant::None, parallel::Tensor>(checkpoint, heads + 1); });
  BOOST_TEST(mentions(message, {"tensor parallelism", std::to_string(heads), "attention heads"}), message);
}

BOOST_AUTO_TEST_SUITE_END()
