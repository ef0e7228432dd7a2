// What verdicts claim of their rate of false positives, on evidence: a small mixture of experts on two "machines" whose
// bits differ because libtorch takes another code path on each.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <fpf/compare/pairing.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/verdict.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/evidence/reader.hpp>
#include <limits>
#include <numeric>
#include <random>
#include <span>

#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_real_noise)

namespace {

using namespace fpf;
using compare::Tap, compare::TapDistance;

constexpr std::size_t prompts = 24;
constexpr int splits = 1000, last_layer = 2;
const Tap tap{{evidence::StoredSignal::key_vectors}, last_layer};

/// Experiment 0's file of cuts of a document with one of libtorch's CPU code paths. In float32: where a CPU has
/// AVX-512, libtorch's attention in bfloat16 refuses the path of AVX2.
std::string recorded(const std::string& capability, const Strings& more = {}) {
  const std::string folder = "machine_" + capability;
  fresh_folder(folder);
  json config = json::parse(text_of("inputs/config.json"));
  config.update({{"vocab_size", 49152}, {"max_position_embeddings", 128}});
  write(folder + "/config.json", config.dump());
  const std::string tokenizer = FPF_BUILD "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  Strings args{bin + "/exp0_reference", "--model", "synthetic:" + folder + "/config.json?seed=3"};
  args.insert(args.end(), {"--tokenizer", tokenizer, "--prompt-pdf", FPF_BUILD "/documents/bashref.pdf"});
  args.insert(args.end(), {"--prompt-tokens", "64", "--prompts", std::to_string(prompts), "--seed", "1"});
  args.insert(args.end(), {"--decode-steps", "6", "--layers", "last", "--reps", "1", "--dtype", "float32"});
  args.insert(args.end(), {"--threads", "1", "--device", "cpu", "--hardware", capability, "--out", folder});
  args.insert(args.end(), more.begin(), more.end());
  const Outcome outcome = run(args, ".", {{"ATEN_CPU_CAPABILITY", capability}});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  return folder + "/reference_baseline.json";
}

/// Vectors with something of 1 % of their norms added, in a direction of its own each.
evidence::Rows<float> perturbed(evidence::Rows<float> rows, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::span<float> row(rows.values.data() + rows.starts[i], rows.starts[i + 1] - rows.starts[i]);
    std::vector<double> direction(row.size());
    double length = 0, norm = 0;
    for (std::size_t j = 0; j < row.size(); ++j) {
      direction[j] = normal(random);
      length += direction[j] * direction[j];
      norm += double{row[j]} * double{row[j]};
    }
    for (std::size_t j = 0; j < row.size(); ++j)
      row[j] += static_cast<float>(0.01 * std::sqrt(norm / length) * direction[j]);
  }
  return rows;
}

/// Distances between the two machines, prompt by prompt, as compare pairs rows.
struct Pairs {
  std::vector<TapDistance> noise, perturbed;

  Pairs() {
    const std::string one = recorded("avx2"), other = recorded("default", {"--tokens", one});
    const auto a = evidence::open_experiment(one), b = evidence::open_experiment(other);
    BOOST_REQUIRE_EQUAL(a.runs.size(), prompts);
    BOOST_REQUIRE_EQUAL(b.runs.size(), prompts);
    constexpr int all = std::numeric_limits<int>::max();
    for (std::size_t p = 0; p < prompts; ++p) {
      BOOST_REQUIRE(a.runs[p].members.at("prompt_sha256") == b.runs[p].members.at("prompt_sha256"));
      const auto x = evidence::read_rows<float>(a, a.runs[p], tap.signal.stored, tap.layer),
                 y = evidence::read_rows<float>(b, b.runs[p], tap.signal.stored, tap.layer);
      noise.push_back(compare::rows_of_prompt(tap, x, y, all, DType::float32, p));
      perturbed.push_back(compare::rows_of_prompt(tap, x, ::test_real_noise::perturbed(y, p), all, DType::float32, p));
    }
  }
};

const Pairs& pairs() {
  static const Pairs both;
  return both;
}

void add(TapDistance& to, const TapDistance& from) {
  to.tap = tap;
  to.rows.insert(to.rows.end(), from.rows.begin(), from.rows.end());
  if (from.first_difference)
    to.first_difference = std::min(to.first_difference.value_or(*from.first_difference), *from.first_difference);
}

/// The verdict on a change that half of the prompts show, against noise that the other half does.
compare::Verdict verdict_of(std::uint64_t split, const std::vector<TapDistance>& change) {
  std::vector<std::size_t> order(prompts);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(split);
  std::ranges::shuffle(order, random);
  std::ranges::sort(order.begin(), order.begin() + prompts / 2);
  std::ranges::sort(order.begin() + prompts / 2, order.end());
  compare::Analysis out;
  out.prompts.resize(prompts);
  out.taps = {tap};
  out.baseline_value = "before";
  out.configurations.resize(3);
  const char *const hardware[] = {"avx2", "default", "default"}, *const values[] = {"before", "before", "after"};
  for (std::size_t i = 0; i < 3; ++i) {
    out.configurations[i].hardware = hardware[i];
    out.configurations[i].value = values[i];
    out.configurations[i].baseline = i < 2;
  }
  out.comparisons.resize(2);
  for (const std::size_t side : {0u, 1u}) {
    compare::Comparison& one = out.comparisons[side];
    one.b = 1 + side;
    one.kind = side == 0 ? compare::PairKind::cross_hardware_noise : compare::PairKind::cross_hardware_signal;
    one.against_baseline = side == 1;
    TapDistance& rows = one.taps.emplace_back();
    for (std::size_t i = 0; i < prompts / 2; ++i)
      add(rows, side == 0 ? pairs().noise[order[i]] : change[order[i + prompts / 2]]);
  }
  compare::add_verdicts(out, 1);
  return out.verdicts.at(0);
}

int detected(const std::vector<TapDistance>& change) {
  std::atomic<int> out = 0;
  compare::parallel_for(splits, [&](std::size_t split) {
    out += verdict_of(split, change).outcome() == compare::Outcome::detectable;
  });
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_two_machines_differ_in_bits_and_all_steps_are_compared) {
  std::size_t equal = 0, rows = 0;
  for (const TapDistance& one : pairs().noise) {
    BOOST_TEST(one.rows.size() == 8u);  // six steps behind the prompt's last two
    for (const auto& row : one.rows) equal += row[compare::deciding] == 0;
    rows += one.rows.size();
  }
  BOOST_TEST_MESSAGE("rows at distance 0: " << equal << " of " << rows);
  BOOST_TEST(2 * equal < rows);
  const compare::Verdict one = verdict_of(0, pairs().noise);
  BOOST_TEST((one.unit == compare::Unit::prompt));
  BOOST_TEST((one.scope == compare::Scope::across_hardware));
  BOOST_TEST(one.noise_units == prompts / 2);
  BOOST_TEST(one.signal_units == prompts / 2);
}

// Of 1,000 tests at 1 % the exact binomial interval has 2 to 22 rejections, with 99.9 %: distances are those of this
// machine's arithmetic, so that another draws anew.
BOOST_AUTO_TEST_CASE(machines_split_by_prompt_are_detectable_at_the_stated_rate) {
  const int found = detected(pairs().noise);
  BOOST_TEST_MESSAGE("splits of the two machines: " << found << " of " << splits);
  BOOST_TEST((found >= 2 && found <= 22), found);
}

BOOST_AUTO_TEST_CASE(one_per_cent_of_one_half_is_found) {
  const int found = detected(pairs().perturbed);
  BOOST_TEST_MESSAGE("perturbed splits: " << found << " of " << splits);
  BOOST_TEST(found >= 990, found);
}

BOOST_AUTO_TEST_SUITE_END()
