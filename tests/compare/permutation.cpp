// compare/permutation.hpp against scipy (fixtures/permutation_oracle.py), and what verdicts claim by it: by simulation,
// with the function that verdicts use.
#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/verdict.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>

BOOST_AUTO_TEST_SUITE(test_permutation)

using namespace fpf::compare;
using Json = nlohmann::json;
using Doubles = std::vector<double>;

namespace {

const Json& oracle() {
  static const Json all = Json::parse(std::ifstream(FPF_SOURCE "/tests/compare/fixtures/permutation_oracle.json"));
  return all;
}

struct Sides {
  Doubles noise, signal;
  std::vector<int> noise_units, signal_units;
  explicit Sides(const Json& entry)
      : noise(entry["noise"]),
        signal(entry["signal"]),
        noise_units(entry["noise_units"]),
        signal_units(entry["signal_units"]) {}
  Sample noise_sample() const { return {noise, noise_units}; }
  Sample signal_sample() const { return {signal, signal_units}; }
};

/// One row in each of `paired` units on both sides, and in `noise` and `signal` units on one; signal above all noise.
PermutationTest test_of(int paired, int noise, int signal) {
  Doubles low, high;
  std::vector<int> low_units, high_units;
  for (int i = 0; i < paired + noise; ++i) low.push_back(i), low_units.push_back(i);
  for (int i = 0; i < paired; ++i) high.push_back(1000 + i), high_units.push_back(i);
  for (int i = 0; i < signal; ++i) high.push_back(2000 + i), high_units.push_back(1000 + i);
  return permutation_test({low, low_units}, {high, high_units}).value();
}

// Cross-machine distances as they are: a prompt has a size of its own, steps of a prompt hang together (an AR(1)
// process), and now and then one is far away (Student's t with 2 degrees of freedom).
constexpr int prompts = 30, steps = 16;

class Machine {
 public:
  explicit Machine(std::uint64_t seed) : random_(seed) {}

  double prompt_size() { return 3e-3 * std::exp(0.7 * normal_(random_)); }

  Doubles run(double size, double persistence = 0.9) {
    Doubles out;
    double state = normal_(random_);
    for (int step = 0; step < steps; ++step) {
      out.push_back(size * std::exp(0.3 * state) * (1 + 0.2 * std::abs(heavy_(random_))));
      state = persistence * state + std::sqrt(1 - persistence * persistence) * normal_(random_);
    }
    return out;
  }

  /// Places 0 ... count - 1 in random order.
  std::vector<std::size_t> order(std::size_t count) {
    std::vector<std::size_t> out(count);
    std::iota(out.begin(), out.end(), 0);
    std::ranges::shuffle(out, random_);
    return out;
  }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::student_t_distribution<double> heavy_{2};
};

void add(Verdict& verdict, bool signal, std::size_t prompt, const Doubles& rows) {
  for (std::size_t step = 0; step < rows.size(); ++step) {
    (signal ? verdict.signal : verdict.noise).push_back(rows[step]);
    (signal ? verdict.signal_places : verdict.noise_places).push_back({prompt, static_cast<int>(step)});
  }
}

/// As verdict_of() leaves it to judge(): floor and ratio are the largest rows' means.
bool is_detectable(Verdict verdict) {
  verdict.noise_floor = *std::ranges::max_element(verdict.noise);
  verdict.signal_level = *std::ranges::max_element(verdict.signal);
  verdict.ratio = verdict.signal_level / verdict.noise_floor;
  verdict.noise_comparisons = verdict.signal_comparisons = 1;
  judge(verdict);
  return verdict.outcome() == Outcome::detectable;
}

/// `rows` of each prompt, half of the prompts called noise and half called change; to the second something is added at
/// a right angle, in units of the signal's norm.
Verdict split(const std::vector<Doubles>& rows, Machine& machine, double perturbation) {
  Verdict out;
  const auto order = machine.order(rows.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    Doubles found = rows[order[i]];
    const bool signal = i >= order.size() / 2;
    for (double& distance : found)
      if (signal) distance = std::hypot(distance, perturbation);
    add(out, signal, order[i], found);
  }
  return out;
}

/// The test that decides it, without what else a verdict says.
bool is_found(Verdict verdict) {
  const auto units = detail::units_of(verdict);
  return permutation_test({verdict.noise, units.noise}, {verdict.signal, units.signal})->rejects();
}

/// Of 1,000, how many verdict_of(machine) are detectable.
template <class VerdictOf>
int detected(VerdictOf verdict_of, bool (*decide)(Verdict) = is_found) {
  std::atomic<int> out = 0;
  parallel_for(1000, [&](std::size_t trial) {
    Machine machine(1000 + trial);
    out += decide(verdict_of(machine));
  });
  return out;
}

/// Rejections of 1,000 that a rate of 1 % gives: the exact 99 % interval of the binomial.
void check_rate(int found, const char* what) {
  BOOST_TEST_MESSAGE(what << ": " << found << " of 1000");
  BOOST_TEST((found >= oracle()["binomial"][0] && found <= oracle()["binomial"][1]), what << ": " << found);
}

std::vector<Doubles> all_prompts(Machine& machine) {
  std::vector<Doubles> out;
  for (int prompt = 0; prompt < prompts; ++prompt) out.push_back(machine.run(machine.prompt_size()));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(p_values_are_scipys) {
  BOOST_REQUIRE(oracle()["tests"].size() == 10u);
  for (const Json& entry : oracle()["tests"]) {
    const Sides both(entry);
    const auto found = permutation_test(both.noise_sample(), both.signal_sample()).value();
    const double p = entry["p_value"];
    BOOST_TEST(std::abs(found.area - entry["area"].get<double>()) < 1e-12);
    BOOST_TEST(found.paired == entry["paired"].get<std::size_t>());
    BOOST_TEST(found.exhaustive == entry["exhaustive"].get<bool>());
    BOOST_TEST(found.arrangements == entry["arrangements"].get<std::size_t>());
    BOOST_TEST(found.smallest_p == 1.0 / entry["arrangements"].get<double>());
    // scipy drew 9,999 arrangements, permutation_test() 4,999
    const double tolerance = found.exhaustive ? 1e-12 : 5 * std::sqrt(p * (1 - p) * (1.0 / 4999 + 1.0 / 9999));
    BOOST_TEST(std::abs(found.p_value - p) <= tolerance, found.p_value << " for " << p);
  }
}

BOOST_AUTO_TEST_CASE(needs_are_noethers) {
  const auto check = [](const std::optional<double>& found, const Json& expected) {
    BOOST_TEST(found.has_value() == !expected.is_null());
    if (found) BOOST_TEST(*found == expected.get<double>());
  };
  for (const Json& entry : oracle()["noether"]) {
    check(units_needed_apart(entry["p"]), entry["apart"]);
    check(units_needed_paired(entry["p"]), entry["paired"]);
  }
  for (const Json& entry : oracle()["tests"]) {
    const Sides both(entry);
    check(units_needed(both.noise_sample(), both.signal_sample()), entry["needed"]);
  }
}

BOOST_AUTO_TEST_CASE(the_fewest_units_are_those_from_which_the_test_can_reject) {
  for (int units = 1; units < 20; ++units) {
    BOOST_TEST(test_of(units, 0, 0).can_reject() == (units >= static_cast<int>(fewest_paired)));
    BOOST_TEST(test_of(units, 0, 0).rejects() == (units >= static_cast<int>(fewest_paired)));
    BOOST_TEST(test_of(0, units, units).rejects() == (units >= static_cast<int>(fewest_apart)));
  }
  // numbers of prompts are of the level: 2^7 = 128 and C(10, 5) = 252 are the first above 100
  BOOST_TEST(fewest_paired == 7u);
  BOOST_TEST(fewest_apart == 5u);
  const std::set<std::size_t> three{0, 1, 2}, four{3, 4, 5, 6}, six{0, 1, 2, 3, 4, 5}, seven{0, 1, 2, 3, 4, 5, 6}, none;
  BOOST_TEST((detail::unit_of(six, six) == Unit::step));
  BOOST_TEST((detail::unit_of(seven, seven) == Unit::prompt));
  BOOST_TEST((detail::unit_of(three, four) == Unit::step));  // 7 over 3 is 35
  BOOST_TEST((detail::unit_of(six, {6, 7, 8}) == Unit::step));
  BOOST_TEST((detail::unit_of(six, {6, 7, 8, 9}) == Unit::prompt));  // 10 over 4 is 210
  BOOST_TEST((detail::unit_of(none, six) == Unit::step));
  BOOST_TEST((detail::unit_of(none, seven) == Unit::prompt));
  BOOST_TEST(test_of(3, 4, 4).arrangements == 560u);  // 2^3 times 8 over 4
  BOOST_TEST(test_of(3, 4, 4).p_value == 1.0 / 560);
  BOOST_TEST(test_of(4, 20, 0).smallest_p == 1.0 / 16);  // what one side alone has cannot be exchanged
  BOOST_TEST(test_of(70, 0, 0).p_value == 1.0 / 5000);   // more swaps than one number has bits
}

BOOST_AUTO_TEST_CASE(what_has_no_units_has_no_test) {
  const Doubles none, one{1.0};
  const std::vector<int> no_units, one_unit{0};
  BOOST_TEST(!permutation_test({none, no_units}, {one, one_unit}).has_value());
  BOOST_TEST(!permutation_test({one, one_unit}, {none, no_units}).has_value());
  BOOST_TEST(!units_needed({one, one_unit}, {one, one_unit}).has_value());
  BOOST_TEST(!units_needed_apart(0.5).has_value());
  BOOST_TEST(!units_needed_paired(0.2).has_value());
  BOOST_TEST(permutation_test({one, one_unit}, {one, one_unit})->p_value == 1.0);  // equal: both arrangements reach it
}

BOOST_AUTO_TEST_CASE(prompts_split_at_random_are_detectable_at_the_stated_rate) {
  check_rate(detected([](Machine& machine) { return split(all_prompts(machine), machine, 0); }, is_detectable),
             "splits by prompt");
}

BOOST_AUTO_TEST_CASE(a_perturbation_of_one_per_cent_is_found) {
  const int found = detected([](Machine& machine) { return split(all_prompts(machine), machine, 0.01); });
  BOOST_TEST_MESSAGE("perturbed splits: " << found << " of 1000");
  BOOST_TEST(found >= 990, found);
}

// As experiments are: noise and change of the same prompts, which share their sizes; also where one has more
// comparisons.
BOOST_AUTO_TEST_CASE(a_change_that_does_nothing_to_the_same_prompts_is_detectable_at_the_stated_rate) {
  for (const int comparisons : {1, 3}) {
    const int found = detected([&](Machine& machine) {
      Verdict out;
      for (std::size_t prompt = 0; prompt < prompts; ++prompt) {
        const double size = machine.prompt_size();
        for (int i = 0; i < comparisons; ++i) add(out, false, prompt, machine.run(size));
        add(out, true, prompt, machine.run(size));
      }
      return out;
    });
    check_rate(found, comparisons == 1 ? "pairs by prompt" : "pairs of 3 and 1 by prompt");
  }
}

// With one prompt the units are its steps. The rate is theirs where they are independent, and not where they hang
// together: therefore the words say so.
BOOST_AUTO_TEST_CASE(steps_of_one_prompt_keep_the_rate_if_they_are_independent) {
  const auto one_prompt = [](double persistence) {
    return detected([=](Machine& machine) {
      Verdict out;
      for (const bool signal : {false, true}) add(out, signal, 0, machine.run(3e-3, persistence));
      return out;
    });
  };
  check_rate(one_prompt(0), "independent steps");
  const int together = one_prompt(0.9);
  BOOST_TEST_MESSAGE("steps that hang together: " << together << " of 1000");
  BOOST_TEST(together > oracle()["binomial"][1].get<int>());
  Verdict verdict;
  Machine machine(1);
  for (const bool signal : {false, true}) add(verdict, signal, 0, machine.run(3e-3));
  verdict.noise_floor = verdict.signal_level = 1;
  verdict.ratio = 1;
  judge(verdict);
  BOOST_TEST(text_of(verdict).find("takes steps as independent") != std::string::npos, text_of(verdict));
}

BOOST_AUTO_TEST_SUITE_END()
