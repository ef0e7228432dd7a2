// Tensor and expert parallelism against the model on one device, and the communicator under them.
#include <ATen/Context.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>

#include <atomic>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/experiment.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/tensor.hpp>
#include <fpf/quant/schemes.hpp>
#include <fstream>
#include <map>

#include "compiled.hpp"
#include "error_text.hpp"
#include "signal_distance.hpp"
#include "small_shape.hpp"

BOOST_AUTO_TEST_SUITE(test_parallel)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

constexpr const char* tiny = "synthetic:qwen3-moe-tiny";
const std::string smollm2 = FPF_BUILD "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Work of `size` ranks, each given its communicator.
template <class Work>
void on_ranks(int size, Work work) {
  const auto communicators = parallel::InProcess::make(size);
  parallel::run_ranks(
      communicators.size(), [&](std::size_t r) { work(*communicators[r]); }, [&] { communicators.front()->abort(); });
}

std::vector<std::int32_t> prompt_of(std::size_t tokens, std::int64_t vocabulary) {
  std::vector<std::int32_t> out(tokens);
  for (std::size_t i = 0; i < tokens; ++i)
    out[i] = static_cast<std::int32_t>((i * 2654435761u + 17) % static_cast<std::uint64_t>(vocabulary));
  return out;
}

RunSettings settings_for(const model::Checkpoint& checkpoint, int ranks, const std::string& placement = "contiguous") {
  RunSettings out;
  out.layers.resize(static_cast<std::size_t>(checkpoint.config().num_layers));
  std::iota(out.layers.begin(), out.layers.end(), 0);
  out.decode_steps = 3;
  out.ranks = {.size = ranks, .placement = placement};
  return out;
}

template <class Parallel, class Quant = quant::None>
evidence::Signals run(const std::string& model, int ranks, const std::string& placement = "contiguous") {
  const auto checkpoint = model::Checkpoint::open(model);
  Experiment<Quant, attention::Flash, Parallel> experiment(checkpoint, settings_for(checkpoint, ranks, placement));
  return experiment.run({prompt_of(12, checkpoint.config().vocab_size)}).signals;
}

/// What one device computes; once a model.
template <class Quant = quant::None>
const evidence::Signals& reference(const std::string& model) {
  static std::map<std::string, evidence::Signals> known;
  const auto found = known.find(model);
  return found != known.end() ? found->second
                              : known.emplace(model, run<parallel::Single, Quant>(model, 1)).first->second;
}

/// A dense synthetic model of 8 query and 4 key-value heads.
std::string dense_model(const std::string& architecture, bool tied) {
  nlohmann::json config = small_shape();
  config.update({{"architectures", {architecture}}, {"max_position_embeddings", 128}, {"tie_word_embeddings", tied}});
  const std::string file = fmt::format("{}_{}.json", architecture, tied);
  std::ofstream(file) << config.dump();
  return "synthetic:" + file;
}

/// Every layer's hidden states and keys within 1e-5, by the worst row; the routers' choices and tokens equal.
void check_close(const evidence::Signals& found, const evidence::Signals& expected) {
  BOOST_TEST(found.token_ids == expected.token_ids, boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(found.layers.size(), expected.layers.size());
  for (std::size_t i = 0; i < expected.layers.size(); ++i) {
    const auto &a = found.layers[i], &b = expected.layers[i];
    BOOST_TEST_CONTEXT("layer " << b.layer) {
      BOOST_TEST(worst_row(floats(a.hidden), floats(b.hidden), b.hidden.width) < 1e-5);
      BOOST_TEST(worst_row(floats(a.keys), floats(b.keys), b.keys.width) < 1e-5);
      if (b.router) BOOST_TEST(a.router->expert_ids == b.router->expert_ids, boost::test_tools::per_element());
    }
  }
  BOOST_TEST(worst_row(found.logprobs.values, expected.logprobs.values, expected.logprobs.k) < 1e-5);
}

template <class Parallel>
std::string refusal(const std::string& model, int ranks, const std::string& placement = "contiguous") {
  const auto checkpoint = model::Checkpoint::open(model);
  return error_text([&] {
    for (const auto& rank : Parallel::local_ranks({.size = ranks, .placement = placement}))
      rank.shard(checkpoint.config());
  });
}

/// Bytes of what tensor parallelism keeps whole on every rank: the embedding, the routers and the norms.
std::int64_t replicated_bytes(const model::ModelConfig& c, std::int64_t element) {
  const std::int64_t routers = c.is_moe() ? c.num_layers * c.num_experts * c.hidden_size : 0;
  const std::int64_t layer_norms = 2 * c.hidden_size + (c.block.qk_norm ? 2 * c.head_dim : 0);
  return element * (c.vocab_size * c.hidden_size + routers + c.num_layers * layer_norms + c.hidden_size);
}

}  // namespace

// --- the communicator
// ------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(sums_are_added_in_rank_order) {
  // In float32, (1e8 - 1e8) + 1 is 1, and 1e8 + (-1e8 + 1) is 0.
  const std::vector<float> parts{1e8f, -1e8f, 1.0f};
  on_ranks(3, [&](parallel::Communicator& c) {
    for (int round = 0; round < 100; ++round) {
      const at::Tensor own = at::full({2, 5}, parts[static_cast<std::size_t>(c.rank())]);
      c.all_reduce(own);
      if (!at::equal(own, at::full({2, 5}, 1.0f))) throw std::runtime_error("another order");
    }
  });
}

BOOST_AUTO_TEST_CASE(gathers_follow_the_ranks_and_broadcasts_their_root) {
  on_ranks(4, [](parallel::Communicator& c) {
    const at::Tensor own = at::full({2, 1}, static_cast<float>(c.rank())), all = at::full({4, 2, 1}, -1.0f);
    c.all_gather(own, all);
    for (std::int64_t r = 0; r < 4; ++r)
      if (!at::equal(all.select(0, r), at::full({2, 1}, static_cast<float>(r)))) throw std::runtime_error("gather");
    // As logits are: the ranks' columns side by side.
    const parallel::Collectives words(&c, {.vocabulary = true});
    const at::Tensor logits = words.gather_logits(own);
    for (std::int64_t r = 0; r < 4; ++r)
      if (!at::equal(logits.narrow(1, r, 1), at::full({2, 1}, static_cast<float>(r))))
        throw std::runtime_error("logits");
    c.broadcast(own, 2);
    if (!at::equal(own, at::full({2, 1}, 2.0f))) throw std::runtime_error("broadcast");
    c.barrier();
  });
}

BOOST_AUTO_TEST_CASE(an_error_in_one_rank_releases_the_others_and_is_the_one_reported) {
  for (int bad = 0; bad < 4; ++bad) {
    std::atomic<int> released = 0;
    const auto text = error_text([&] {
      on_ranks(4, [&](parallel::Communicator& c) {
        c.barrier();
        if (c.rank() == bad) fail("this cannot go on");
        try {
          c.all_reduce(at::full({1}, 1.0f));
        } catch (const parallel::Aborted&) {
          ++released;
          throw;
        }
      });
    });
    BOOST_TEST(text == fmt::format("rank {}: this cannot go on", bad));
    BOOST_TEST(released == 3);
  }
}

BOOST_AUTO_TEST_CASE(the_callers_thread_count_survives_its_ranks) {
  at::set_num_threads(4);
  std::array<int, 2> own{};
  on_ranks(2, [&](parallel::Communicator& c) { own[static_cast<std::size_t>(c.rank())] = at::get_num_threads(); });
  BOOST_TEST(own[0] == 2);
  BOOST_TEST(own[1] == 2);
  BOOST_TEST(at::get_num_threads() == 4);
  at::set_num_threads(2);
}

// --- tensor parallelism
// ----------------------------------------------------------------------------------------------

BOOST_DATA_TEST_CASE(tensor_ranks_compute_what_one_device_does, data::make({2, 4, 8}), ranks) {
  check_close(run<parallel::Tensor>(tiny, ranks), reference(tiny));
}

BOOST_DATA_TEST_CASE(dense_models_and_tied_heads_divide_too,
                     data::make({"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) *
                         data::make({false, true}),
                     architecture, tied) {
  const auto model = dense_model(architecture, tied);
  for (const int ranks : {2, 8}) check_close(run<parallel::Tensor>(model, ranks), reference(model));
}

// SmolLM2's block formats and interleaved rows, over the three ranks that its 9 and 3 heads allow.
BOOST_AUTO_TEST_CASE(gguf_weights_divide) {
  if (std::filesystem::exists(smollm2)) check_close(run<parallel::Tensor>(smollm2, 3), reference(smollm2));
}

BOOST_AUTO_TEST_CASE(one_tensor_rank_has_the_same_bits) {
  const auto digests = evidence::digests_of(reference(tiny));
  BOOST_CHECK(evidence::digests_of(run<parallel::Tensor>(tiny, 1)) == digests);
  BOOST_CHECK(evidence::digests_of(run<parallel::Expert>(tiny, 1)) == digests);
  BOOST_CHECK(evidence::digests_of(run<parallel::Tensor>(tiny, 2)) != digests);  // the sums are others'
}

BOOST_AUTO_TEST_CASE(ranks_repeat_bit_for_bit) {
  const auto first = evidence::digests_of(run<parallel::Tensor>(tiny, 4));
  for (int i = 0; i < 3; ++i) BOOST_CHECK(evidence::digests_of(run<parallel::Tensor>(tiny, 4)) == first);
}

BOOST_DATA_TEST_CASE(quantised_weights_divide_as_they_are_stored,
                     data::make({"awq&group_size=32", "gptq&group_size=32", "awq&group_size=128", "nf4"}) *
                         data::make({2, 4}),
                     format, ranks) {
  const std::string model = fmt::format("{}?quant={}", tiny, format);
  quant::select(model::Checkpoint::open(model).config().quantization, [&]<class Quant>() {
    check_close(run<parallel::Tensor, Quant>(model, ranks), reference<Quant>(model));
  });
}

BOOST_DATA_TEST_CASE(the_ranks_weights_sum_to_the_whole, data::make({2, 4}), ranks) {
  for (const char* format : {"none", "awq&group_size=32", "gptq&group_size=32"}) {
    const auto checkpoint = model::Checkpoint::open(fmt::format("{}?quant={}", tiny, format));
    quant::select(checkpoint.config().quantization, [&]<class Quant>() {
      const auto bytes = [&]<class Parallel>(int size) {
        std::size_t total = 0;
        const Experiment<Quant, attention::Flash, Parallel> experiment(checkpoint, settings_for(checkpoint, size));
        for (const auto& decoder : experiment.decoders()) total += decoder->weight_bytes();
        return static_cast<std::int64_t>(total);
      };
      const std::int64_t whole = bytes.template operator()<parallel::Single>(1);
      const std::int64_t divided = bytes.template operator()<parallel::Tensor>(ranks);
      // Every GPTQ shard along the inputs keeps all groups' zeros and scales: their order is g_idx's.
      if (std::string_view(format).starts_with("gptq"))
        BOOST_TEST(divided < whole + (ranks - 1) * (replicated_bytes(checkpoint.config(), 4) + whole / 8));
      else
        BOOST_TEST(divided == whole + (ranks - 1) * replicated_bytes(checkpoint.config(), 4));
    });
  }
}

BOOST_AUTO_TEST_CASE(tensor_parts_cover_the_model_without_overlap) {
  const auto config = model::Checkpoint::open(tiny).config();
  std::int64_t heads = 0, kv_heads = 0, columns = 0, vocabulary = 0;
  for (const auto& rank : parallel::Tensor::local_ranks({.size = 4})) {
    const auto shard = rank.shard(config);
    BOOST_TEST(shard.heads.begin == heads);
    BOOST_TEST(shard.kv_heads.begin == kv_heads);
    BOOST_TEST(shard.expert_mlp.begin == columns);
    BOOST_TEST(shard.vocabulary.begin == vocabulary);
    BOOST_TEST(shard.experts.size() == 32);
    heads = shard.heads.end, kv_heads = shard.kv_heads.end, columns = shard.expert_mlp.end,
    vocabulary = shard.vocabulary.end;
  }
  BOOST_TEST(heads == config.num_heads);
  BOOST_TEST(kv_heads == config.num_kv_heads);
  BOOST_TEST(columns == config.moe_intermediate_size);
  BOOST_TEST(vocabulary == config.vocab_size);
}

// Eight ranks, four key-value heads: ranks 2h and 2h + 1 both hold head h, and each query head finds its own.
BOOST_AUTO_TEST_CASE(key_value_heads_are_replicated_when_ranks_exceed_them) {
  const auto config = model::Checkpoint::open(tiny).config();
  const std::int64_t group = config.num_heads / config.num_kv_heads;
  for (const auto& rank : parallel::Tensor::local_ranks({.size = 8})) {
    const auto shard = rank.shard(config);
    BOOST_TEST(shard.kv_heads.begin == rank.rank() / 2);
    BOOST_TEST(shard.kv_heads.size() == 1);
    BOOST_TEST(shard.heads.begin / group == shard.kv_heads.begin);
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_divide_is_refused_by_name) {
  if (std::filesystem::exists(smollm2)) {
    BOOST_TEST(mentions(refusal<parallel::Tensor>(smollm2, 2), {"9 attention heads", "2 ranks"}));
    BOOST_TEST(refusal<parallel::Tensor>(smollm2, 3) == "no error");
    BOOST_TEST(mentions(refusal<parallel::Expert>(smollm2, 2), {"LlamaForCausalLM", "dense", "no experts"}));
  }
  BOOST_TEST(mentions(refusal<parallel::Tensor>(tiny, 3), {"8 attention heads", "3 ranks"}));
  BOOST_TEST(mentions(refusal<parallel::Tensor>(tiny, 16), {"8 attention heads", "16 ranks"}));
  BOOST_TEST(mentions(refusal<parallel::Expert>(tiny, 5), {"32 experts", "5 ranks"}));
  BOOST_TEST(mentions(refusal<parallel::Expert>(tiny, 2, "striped"), {"striped", "contiguous", "round_robin"}));
}

BOOST_AUTO_TEST_CASE(key_value_heads_that_neither_divide_nor_repeat_are_refused) {
  model::ModelConfig config = model::Checkpoint::open(tiny).config();
  config.num_heads = 12, config.num_kv_heads = 3;
  const auto ranks = parallel::Tensor::local_ranks({.size = 2});
  BOOST_TEST(mentions(error_text([&] { ranks[0].shard(config); }), {"3 key-value heads", "2 ranks"}));
  const auto four = parallel::Tensor::local_ranks({.size = 4});
  BOOST_TEST(mentions(error_text([&] { four[0].shard(config); }), {"3 key-value heads", "4 ranks"}));
}

// --- expert parallelism
// ----------------------------------------------------------------------------------------------

BOOST_DATA_TEST_CASE(expert_ranks_compute_what_one_device_does,
                     data::make({2, 4}) * data::make({"contiguous", "round_robin"}), ranks, placement) {
  check_close(run<parallel::Expert>(tiny, ranks, placement), reference(tiny));
}

BOOST_AUTO_TEST_CASE(every_expert_has_one_place) {
  const auto config = model::Checkpoint::open(tiny).config();
  for (const char* placement : {"contiguous", "round_robin"}) {
    std::vector<int> holders(static_cast<std::size_t>(config.num_experts), 0);
    for (const auto& rank : parallel::Expert::local_ranks({.size = 4, .placement = placement})) {
      const auto shard = rank.shard(config);
      BOOST_TEST(shard.experts.size() == 8);
      BOOST_TEST(shard.experts[1] - shard.experts[0] == (placement == std::string("contiguous") ? 1 : 4));
      for (const auto expert : shard.experts) ++holders[static_cast<std::size_t>(expert)];
    }
    BOOST_TEST(holders == std::vector<int>(holders.size(), 1), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_rank_holds_its_experts_alone) {
  const auto checkpoint = model::Checkpoint::open(tiny);
  const auto& c = checkpoint.config();
  const Experiment<quant::None, attention::Flash, parallel::Expert> four(checkpoint, settings_for(checkpoint, 4));
  const Experiment<> one(checkpoint, settings_for(checkpoint, 1));
  const std::int64_t experts = 4 * c.num_layers * c.num_experts * 3 * c.moe_intermediate_size * c.hidden_size;
  const auto whole = static_cast<std::int64_t>(one.decoders().front()->weight_bytes());
  for (const auto& decoder : four.decoders())
    BOOST_TEST(static_cast<std::int64_t>(decoder->weight_bytes()) == whole - experts * 3 / 4);
}

// An interrupt reaches every rank, whichever asks first.
BOOST_AUTO_TEST_CASE(an_interrupted_run_ends_all_ranks) {
  const auto checkpoint = model::Checkpoint::open(tiny);
  Experiment<quant::None, attention::Flash, parallel::Tensor> experiment(checkpoint, settings_for(checkpoint, 4));
  int steps = 0;
  const auto stop_after_two = [&] {
    if (++steps == 2) fpf::detail::interrupt_requested = 1;
  };
  BOOST_CHECK_THROW(experiment.run({prompt_of(20, checkpoint.config().vocab_size)}, {}, stop_after_two), Interrupted);
  fpf::detail::interrupt_requested = 0;
}

BOOST_AUTO_TEST_SUITE_END()
