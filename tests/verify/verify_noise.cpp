// Verdicts by noise: what honest runs must be, how many a decision takes, and whether a change would have been seen.
#include <cmath>
#include <fpf/verify/verdict.hpp>
#include <random>

#include "verify.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_noise)

using namespace fpf;
using namespace fpf::verify;

namespace {

constexpr int steps = 8;
constexpr std::size_t relative_l2 = compare::metric_named("relative_l2");

/// A path on which two signals are as far away as `sizes` says, position by position.
Path path_of_distances(const std::vector<double>& sizes) {
  Path out;
  for (const int layer : {0, 1}) {
    compare::TapDistance tap;
    tap.tap = {{fpf::evidence::StoredSignal::hidden_states}, layer};
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      compare::RowDistance row;
      row.step = static_cast<int>(i);
      row.values[relative_l2] = sizes[i] * (layer + 1);  // every signal has a unit of its own
      tap.rows.push_back(row);
      if (row[relative_l2] > 0 && !out.first_difference)
        out.first_difference = evidence::Place{row.step, row.step, layer, "hidden_states"};
    }
    out.taps.push_back(std::move(tap));
  }
  return out;
}

/// A run whose distances vary by a few per cent around `size`.
Paths run_of(int number, double size = 1e-3) {
  std::vector<double> sizes;
  for (int step = 0; step < steps; ++step) sizes.push_back(size * (1 + 0.05 * std::sin(7.0 * number + 3.0 * step)));
  return {path_of_distances(sizes), path_of_distances(sizes)};
}

std::vector<Paths> honest_runs(int count) {
  std::vector<Paths> out;
  for (int i = 0; i < count; ++i) out.push_back(run_of(i));
  return out;
}

/// A report that only noise is left to decide.
RunReport by_noise(const Paths& evidence, const std::vector<Paths>& honest, const NoiseRule& rule = {}) {
  RunReport out;
  out.decode = evidence.decode;
  out.prefill = evidence.prefill;
  out.noise = judge(evidence, honest, steps, rule);
  decide(out);
  return out;
}

std::string verdict(const RunReport& report) { return std::string(name_of(report.decision)) + ": " + report.reason; }

/// Numbers in every signal of the table, in bfloat16 where they are activations, at layers 0 and 3.
evidence::Signals numbers_in_all() {
  evidence::Signals out{.prompt_tokens = 5, .token_ids = {0, 1}, .layers = {{0, {}, {}, {}}, {3, {}, {}, {}}}};
  for (const evidence::SignalInfo& info : evidence::signal_table)
    for (std::size_t i = 0; i < (info.per_layer ? out.layers.size() : 1); ++i) {
      std::vector<evidence::ColumnValues> columns;
      for (const evidence::SignalField& field : info.fields()) {
        using Type = evidence::SignalField::Type;
        evidence::ColumnValues column{field.type == Type::int32     ? DType::int32
                                      : field.type == Type::float32 ? DType::float32
                                                                    : DType::bfloat16,
                                      field.one ? 1 : 2,
                                      {}};
        const auto count = static_cast<std::size_t>((out.steps() + info.look_back - 1) * column.width);
        column.bytes.resize(count * size_of(column.dtype));
        for (std::int32_t n = 0; n < static_cast<std::int32_t>(count); ++n) {
          const float value = -static_cast<float>(n + 1);
          const std::uint16_t half = bfloat16_from_float32(value);
          const auto id = static_cast<std::int32_t>(n % column.width);
          const void* const from = field.type == Type::int32     ? static_cast<const void*>(&id)
                                   : field.type == Type::float32 ? static_cast<const void*>(&value)
                                                                 : &half;
          std::memcpy(column.bytes.data() + static_cast<std::size_t>(n) * size_of(column.dtype), from,
                      size_of(column.dtype));
        }
        columns.push_back(std::move(column));
      }
      info.store(out, i, std::move(columns));
    }
  return out;
}

}  // namespace

// What is compared says the table of signals: all vectors and the log-probabilities in both views, in the order of a pass.
BOOST_AUTO_TEST_CASE(a_path_has_every_signal_that_is_compared) {
  const evidence::Signals a = numbers_in_all();
  evidence::Signals b = a;
  b.layers[1].hidden.bytes[2 * b.layers[1].hidden.row_bytes()] ^= std::byte{1};  // position 5
  const Path path = path_of(a, b, 1);
  std::vector<std::string> labels;
  for (const auto& tap : path.taps) {
    labels.push_back(label_of(tap.tap));
    BOOST_TEST(tap.rows.size() == 4u);
    for (const auto& row : tap.rows)
      BOOST_TEST(
          (row[compare::metric_named("bit_equal")] == 1) == (labels.back() != "hidden_states layer 3" || row.step != 0),
          labels.back() << ", step " << row.step);
  }
  const std::vector<std::string> wanted{
      "key_vectors layer 0", "hidden_states layer 0", "key_vectors layer 3", "hidden_states layer 3", "logprobs",
      "logprobs_aligned"};
  BOOST_TEST(labels == wanted, boost::test_tools::per_element());
  for (const evidence::SignalInfo& info : evidence::signal_table)
    BOOST_TEST(compare::views_of(info).empty() == (info.signal == evidence::StoredSignal::router), info.name);
  BOOST_TEST(path.routers.size() == 2u);
  BOOST_TEST(evidence::to_string(path.first_difference.value()) == "step 0 (position 5), layer 3, hidden_states");
}

BOOST_AUTO_TEST_CASE(accepting_takes_as_many_honest_runs_as_rejecting) {
  BOOST_TEST(runs_needed(0.1) == 19u);
  BOOST_TEST(runs_needed(0.05) == 39u);
  BOOST_TEST(runs_needed(0.5) == 9u);  // fewer cannot show a power of 0.9
  const Paths near = run_of(100), far = run_of(100, 1);
  for (const int count : {1, 12, 18}) {
    const RunReport accepted = by_noise(near, honest_runs(count)), rejected = by_noise(far, honest_runs(count));
    const std::string lacks = fmt::format("{} honest run{} here, 19 are needed", count, count == 1 ? " is" : "s are");
    BOOST_TEST(mentions(verdict(accepted), {"undecided: ", lacks}), verdict(accepted));
    BOOST_TEST(mentions(verdict(rejected), {"undecided: it stands out, but ", lacks}), verdict(rejected));
  }
  const RunReport accepted = by_noise(near, honest_runs(19)), rejected = by_noise(far, honest_runs(19));
  BOOST_TEST(mentions(verdict(accepted), {"accept: ", "False-positive rate at most 10.0 % (19 honest runs",
                                          "power 0.95 against a change of 10 times the noise (found in 19"}),
             verdict(accepted));
  BOOST_TEST(mentions(verdict(rejected), {"reject: ", "detectable"}), verdict(rejected));
}

BOOST_AUTO_TEST_CASE(a_decision_takes_five_positions_of_evidence) {
  for (const double size : {1e-3, 1.0}) {
    Paths few = run_of(100, size);
    for (Path* path : {&few.decode, &few.prefill})
      for (auto& tap : path->taps) tap.rows.resize(4);
    const RunReport found = by_noise(few, honest_runs(19));
    BOOST_TEST(mentions(verdict(found), {"undecided: ", "4 positions of evidence", "at least 5"}), verdict(found));
  }
}

// One honest run in which everything differs hides what is smaller than it: evidence that does not stand out is no
// evidence of honesty then. The change that would be seen is named.
BOOST_AUTO_TEST_CASE(noise_that_would_hide_the_change_accepts_nothing) {
  std::vector<Paths> honest = honest_runs(18);
  honest.push_back(run_of(18, 0.5));
  const RunReport hidden = by_noise(run_of(100), honest);
  BOOST_TEST(mentions(verdict(hidden), {"undecided: ", "10 times the noise", "0.9 is needed", "--effect"}),
             verdict(hidden));
  BOOST_REQUIRE(hidden.noise->findable.has_value());
  BOOST_TEST(*hidden.noise->findable > 500);  // 0.5 / 1e-3
  NoiseRule larger;
  larger.effect = *hidden.noise->findable;
  BOOST_TEST(mentions(verdict(by_noise(run_of(100), honest, larger)), {"accept: "}));
}

// The rate is that of chance whatever the distribution: here whole runs differ by orders of magnitude.
BOOST_AUTO_TEST_CASE(honest_evidence_stands_out_of_n_runs_once_in_n_plus_1) {
  std::mt19937_64 generator(1);
  std::normal_distribution<double> normal;
  constexpr int runs = 4, draws = 400;
  int out = 0;
  for (int draw = 0; draw < draws; ++draw) {
    std::vector<Distances> all;
    for (int i = 0; i <= runs; ++i) {
      std::vector<double> sizes;
      const double size = std::exp(3 * normal(generator));
      for (int step = 0; step < steps; ++step) sizes.push_back(size * std::exp(0.1 * normal(generator)));
      all.push_back(distances_of(path_of_distances(sizes), steps));
    }
    verify::detail::Honest noise;
    for (int i = 0; i < runs; ++i) noise.push_back(&all[static_cast<std::size_t>(i)]);
    out += verify::detail::judge_path(all.back(), noise, 1.0).stands_out();
  }
  const double expected = draws / (runs + 1.0);
  BOOST_TEST(out <= expected + 3 * std::sqrt(expected));
  BOOST_TEST(out >= expected / 3);  // the test is not blind
}

BOOST_AUTO_TEST_CASE(positions_behind_the_evidences_last_do_not_count) {
  std::vector<Paths> honest = honest_runs(19);
  for (Paths& run : honest)
    for (Path* path : {&run.decode, &run.prefill})
      for (auto& tap : path->taps) {
        compare::RowDistance late;
        late.step = steps;
        late.values[relative_l2] = 1e6;
        tap.rows.push_back(late);
      }
  BOOST_TEST((by_noise(run_of(100, 1), honest).decision == Decision::reject));
}

BOOST_AUTO_TEST_CASE(every_way_to_a_decision_has_a_reason) {
  const evidence::Place place{1, 13, 0, "hidden_states"};
  const Path equal, differs = path_of_distances({1, 1, 1, 1, 1, 1, 1, 1});
  std::vector<RunReport> all;
  for (const bool contradicts : {false, true})
    for (const bool asked : {false, true})
      for (const bool other : {false, true})
        for (const int executed : {0, 1, 2, 3, 4, 5, 6})
          for (const bool recorded : {false, true})
            for (const bool own_noise : {false, true})
              for (const int noise : {-1, 1, 19}) {
                RunReport one;
                if (contradicts) one.contradictions = {"two values"};
                if (asked) one.prompt = PromptReport{.difference = "another prompt"};
                if (other) one.other_model = "sha256";
                one.recorded_exact = recorded;
                if (own_noise) one.own_noise = place;
                if (executed == 1) one.decode = one.prefill = equal;
                if (executed == 2) one.decode = one.prefill = differs;
                if (executed == 3) {
                  one.decode = one.prefill = differs;
                  one.decode->not_best = {{1, 2, 3, {}}};
                }
                if (executed > 3) one.non_finite = NonFinite{.claimed = place, .same_digests = executed == 6};
                if (executed > 4) one.non_finite->here = place;
                if (noise > 0 && (executed == 1 || executed == 2))
                  one.noise = judge({*one.decode, *one.prefill}, honest_runs(noise), steps, {});
                decide(one);
                BOOST_TEST(!one.reason.empty());
                BOOST_TEST((one.decision != Decision::accept || (!contradicts && !asked && !other)));
                all.push_back(one);
              }
  for (const Decision decision : {Decision::accept, Decision::undecided, Decision::reject})
    BOOST_TEST(std::ranges::count(all, decision, &RunReport::decision) > 0);
}

// The same model on two machines: libtorch and MKL with other instructions.
namespace {

const Child::Environment elsewhere{{"ATEN_CPU_CAPABILITY", "default"}, {"MKL_ENABLE_INSTRUCTIONS", "SSE4_2"}};
constexpr int honest_files = 9;

/// Experiment 0's file of another prompt, from the other machine, with other values of options; each is made once.
std::string there(int number, const Strings& more = {}, const std::string& name = "") {
  static const bool fresh = (fresh_folder("there"), true);
  BOOST_REQUIRE(fresh);
  const std::string folder = fmt::format("there/{}{}", number, name), file = folder + "/reference_baseline.json";
  if (fs::exists(file)) return file;
  write(fmt::format("there_{}.json", number), ids(100 + number));
  Strings args = Inputs::command("exp0_reference", folder, {"--reps", "1"});
  *std::ranges::find(args, "inputs/ids0.json") = fmt::format("there_{}.json", number);
  for (std::size_t i = 0; i < more.size(); i += 2)
    if (const auto option = std::ranges::find(args, more[i]); option != args.end())
      *(option + 1) = more[i + 1];
    else
      args.insert(args.end(), {more[i], more[i + 1]});
  const Outcome outcome = run(args, ".", elsewhere);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  return file;
}

/// verify's verdict on the evidence with so many honest files, and more.
Verified with_noise(const std::string& evidence, int count, const Strings& files = {}) {
  Strings args{"--false-positive-rate", "0.2", "--effect", "100", "--noise"};
  for (int i = 1; i <= count; ++i) args.push_back(there(i));
  args.insert(args.end(), files.begin(), files.end());
  return verified(evidence, {Inputs::model()}, args);
}

/// Refused by name, with exit code 2.
void require_refused(const std::string& file, const Strings& words, int honest = 0) {
  const Verified found = with_noise(there(0), honest, {file});
  BOOST_TEST(found.code == 2, found.out << found.err);
  Strings all{"--noise " + file};
  all.insert(all.end(), words.begin(), words.end());
  BOOST_TEST(mentions(found.err, all), found.err);
}

}  // namespace

BOOST_AUTO_TEST_CASE(honest_runs_of_that_machine_decide_once_there_are_enough) {
  const std::string honest = there(0), gross = forged(honest, {"round", "0", "--resign"});
  const Verified few = with_noise(honest, honest_files - 1), few_gross = with_noise(gross, honest_files - 1);
  BOOST_TEST(few.code == 3);
  BOOST_TEST(mentions(few.first().at("reason"), {"8 honest runs are here, 9 are needed"}), few.first().at("reason"));
  BOOST_TEST(few.first().at("verdict") == "undecided");
  BOOST_TEST(few_gross.first().at("verdict") == "undecided");
  BOOST_TEST(mentions(few_gross.first().at("reason"), {"stands out, but 8 honest runs", "9 are needed"}));
  const Verified accepted = with_noise(honest, honest_files), rejected = with_noise(gross, honest_files);
  BOOST_TEST(accepted.code == 0, accepted.out << accepted.err);
  const json noise = accepted.first().at("noise");
  BOOST_TEST(noise.at("honest_runs") == 9);
  BOOST_TEST(noise.at("honest_runs_needed") == 9);
  BOOST_TEST(noise.at("effect") == 100);
  BOOST_TEST(noise.at("power").get<double>() >= 0.9);
  BOOST_TEST(noise.at("decode").at("tokens") == 6);
  BOOST_TEST(rejected.code == 3);
  BOOST_TEST(rejected.first().at("verdict") == "reject", rejected.first().at("reason"));
}

BOOST_AUTO_TEST_CASE(evidence_and_copies_of_it_are_no_noise) {
  const std::string evidence = there(0);
  require_refused(evidence, {"same bits as the evidence", "copy"}, 1);
  require_refused(forged(evidence, {"member", "/configurations/0/provider", "\"other\""}),
                  {"same bits as the evidence"});
  // another run's digests all over, but for one signal of one layer
  require_refused(forged(evidence, {"round", "0", "--resign"}), {"same bits as the evidence", "key_vectors"});
  require_refused(forged(evidence, {"prompt", "0", "3", "--resign"}), {"same bits as the evidence"});
  require_refused(forged(evidence, {"element", "0", "1", "hidden_states", "0", "1", "--resign"}),
                  {"same bits as the evidence"});
}

BOOST_AUTO_TEST_CASE(an_honest_run_counts_once) {
  require_refused(forged(there(1), {"member", "/configurations/0/provider", "\"another\""}),
                  {"same bits as there/1/reference_baseline.json", "counts once"}, 2);
  require_refused(forged(there(2), {"element", "0", "1", "hidden_states", "0", "1", "--resign"}),
                  {"same bits as there/2/reference_baseline.json"}, 2);
}

BOOST_AUTO_TEST_CASE(noise_of_other_signals_or_fewer_steps_is_refused) {
  require_refused(there(1, {"--decode-steps", "3"}, "short"), {"3 decode steps, the evidence 4"});
  require_refused(there(1, {"--layers", "0"}, "layers"), {"other layers"});
  require_refused(there(1, {"--top-k", "5"}, "few"), {"5 log-probabilities"});
}

BOOST_AUTO_TEST_SUITE_END()
