// Small models of every format have the definition's bits by every instruction set, number of threads, batch, cut of
// the prompt and division over ranks.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <fpf/experiment/registry.hpp>
#include <fpf/experiment/session.hpp>

#include "format_models.hpp"
#include "portable_model.hpp"
#include "portable_runs.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_formats)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

constexpr int steps = 2;

/// `positions` ids: of models of 16 bits beyond a block of 128, of float32 beyond one of 64.
std::vector<std::int32_t> prompt(int positions, int first = 7) { return some_ids(positions, first, 300); }

/// A run's digests, of the first of `batch` prompts.
evidence::Digests digests(engine::Decoder& decoder, const RunSettings& settings, int positions, int batch = 1) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (int row = 0; row < batch; ++row) prompts.push_back(prompt(positions, 7 + row));
  return evidence::digests_of(portable_run(decoder, settings, prompts));
}

evidence::Digests over_ranks(const model::Checkpoint& checkpoint, RunSettings settings, int positions,
                             const parallel::Scheme& scheme, int ranks, const std::string& placement = "contiguous") {
  settings.ranks = {.size = ranks, .placement = placement, .emulate = true};
  Session session(checkpoint, settings, reference_setup("portable").with(scheme));
  return evidence::digests_of(session.run({prompt(positions)}).signals);
}

/// Logits behind the prompt and all keys, of a prompt that is computed in pieces.
std::vector<at::Tensor> in_pieces(engine::Decoder& decoder, int positions, std::int64_t piece) {
  const c10::InferenceMode guard;
  const at::Tensor tokens = model::batch_of({prompt(positions)});
  auto cache = decoder.make_cache(1, positions);
  std::vector<at::Tensor> out(1);
  for (std::int64_t at = 0; at < positions; at += piece)
    out.front() =
        decoder.forward(tokens.narrow(1, at, std::min<std::int64_t>(piece, positions - at)), cache, 1, nullptr);
  for (std::int64_t layer = 0; layer < decoder.config().num_layers; ++layer)
    out.push_back(cache.keys(layer, positions).contiguous());
  return out;
}

void check(const model::Checkpoint& checkpoint, DType dtype) {
  const RunSettings settings = all_layers(checkpoint, dtype, steps);
  const int positions = dtype == DType::float32 ? 70 : 140;
  const evidence::Digests wanted = slow::digests(checkpoint, dtype, prompt(positions), steps);
  const auto decoder = portable_decoder(checkpoint, dtype);
  const portable::InstructionSet first = portable::instruction_set();
  const int threads = at::get_num_threads();
  for (const auto set : portable::instruction_sets)
    if (portable::has(set)) {
      portable::instruction_set() = set;
      const auto own = portable_decoder(checkpoint, dtype);  // weights may lie as a set wants them
      BOOST_TEST((digests(*own, settings, positions) == wanted), name_of(set));
      if (dtype == DType::float32) continue;
      BOOST_TEST((digests(*own, settings, positions, 2) == wanted), name_of(set) << ", a batch");
    }
  portable::instruction_set() = first;
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    BOOST_TEST((digests(*decoder, settings, positions) == wanted), count << " threads");
  }
  at::set_num_threads(threads);
  for (const int batch : {2, 4, 12})
    BOOST_TEST((digests(*decoder, settings, positions, batch) == wanted), "batch of " << batch);
  const auto whole = in_pieces(*decoder, positions, positions);
  for (const int piece : {59, 1}) {
    const auto found = in_pieces(*decoder, positions, piece);
    for (std::size_t i = 0; i < whole.size(); ++i)
      BOOST_TEST(std::memcmp(found[i].const_data_ptr(), whole[i].const_data_ptr(), whole[i].nbytes()) == 0,
                 "pieces of " << piece);
  }
  for (const int ranks : {2, 3, 4})
    BOOST_TEST((over_ranks(checkpoint, settings, positions, parallel::scheme<parallel::Tensor>(), ranks) == wanted),
               "TP " << ranks);
  if (!checkpoint.config().is_moe()) return;
  for (const int ranks : {2, 4})
    for (const char* placement : {"contiguous", "round_robin"})
      BOOST_TEST((over_ranks(checkpoint, settings, positions, parallel::scheme<parallel::Expert>(), ranks, placement) ==
                  wanted),
                 "EP " << ranks << ", " << placement);
}

}  // namespace

BOOST_DATA_TEST_CASE(of_16_bits, data::make(format_models::all()), format) {
  const auto checkpoint = format_models::open(format);
  check(checkpoint, DType::bfloat16);
  if (format.starts_with("dense")) check(checkpoint, DType::float16);
}

BOOST_DATA_TEST_CASE(of_float32, data::make(format_models::all()), format) {
  check(format_models::open(format), DType::float32);
}

BOOST_AUTO_TEST_SUITE_END()
