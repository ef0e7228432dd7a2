// Whether one side's distances rank above the other's: a permutation test whose units keep together, and how many units
// a test takes. Tests check them against scipy.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace fpf::compare {

/// A sample of distances with the cluster (the unit: a prompt, or a step) that each comes from.
struct Sample {
  std::span<const double> values;
  std::span<const int> clusters;
};

/// Rate of false positives at which a verdict calls a change detectable.
inline constexpr double false_positive_rate = 0.01;

/// Arrangements drawn beside the observed one, where there are more; p-values go down to 1 / 5000.
inline constexpr std::size_t permutation_draws = 4999;

/// Arrangements of the labels of so many units on both sides, and on one; as a double, which holds more than matters.
constexpr double arrangements_of(std::size_t paired, std::size_t noise_only, std::size_t signal_only) {
  double out = 1;
  for (std::size_t i = 0; i < paired; ++i) out *= 2;
  for (std::size_t i = 1; i <= signal_only; ++i) out *= static_cast<double>(noise_only + i) / static_cast<double>(i);
  return out;
}

/// Whether any data of such units could be called detectable: of all arrangements one is the observed.
constexpr bool can_reach_level(std::size_t paired, std::size_t noise_only, std::size_t signal_only) {
  return arrangements_of(paired, noise_only, signal_only) * false_positive_rate >= 1;
}

/// Fewest units on both sides with which the test can reject: 1 / 2^n is at most the level.
inline constexpr std::size_t fewest_paired = [] {
  std::size_t out = 1;
  while (!can_reach_level(out, 0, 0)) ++out;
  return out;
}();

/// Fewest on each side where none is on both: 1 / C(2n, n) is.
inline constexpr std::size_t fewest_apart = [] {
  std::size_t out = 1;
  while (!can_reach_level(0, out, out)) ++out;
  return out;
}();

struct PermutationTest {
  double area = 0.5;             // as observed: the area under the ROC curve over units
  double p_value = 1;            // one-sided: of an area at least as large where noise and signal are exchangeable
  double smallest_p = 1;         // that any data of these units could have
  std::size_t arrangements = 1;  // looked at, the observed one among them
  bool exhaustive = true;        // these are all there are
  std::size_t paired = 0, noise_only = 0, signal_only = 0;  // units on both sides, and on one

  bool rejects() const { return p_value <= false_positive_rate; }
  bool can_reject() const { return smallest_p <= false_positive_rate; }
};

namespace detail {

/// A unit on the two sides: how many rows, and the mean of their scores.
struct UnitScores {
  double noise_rows = 0, signal_rows = 0, noise_score = 0, signal_score = 0;
};

/// A row's score is how many units' sides it lies above, of the rows that it lies above or (by half) ties with: its
/// rank among the rows of both sides together, in which each side of a unit weighs the same however many rows it has.
inline std::vector<UnitScores> score_units(const Sample& noise, const Sample& signal) {
  struct Row {
    double value;
    int cluster;
    bool signal;
  };
  std::vector<Row> rows;
  std::map<int, UnitScores> units;
  for (const Sample* sample : {&noise, &signal})
    for (std::size_t i = 0; i < sample->values.size(); ++i) {
      rows.push_back({sample->values[i], sample->clusters[i], sample == &signal});
      UnitScores& unit = units[sample->clusters[i]];
      (sample == &signal ? unit.signal_rows : unit.noise_rows) += 1;
    }
  std::ranges::sort(rows, {}, &Row::value);
  double below = 0;
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    double tied = 0;
    const auto weight = [&](const Row& row) {
      return 1 / (row.signal ? units[row.cluster].signal_rows : units[row.cluster].noise_rows);
    };
    for (; end < rows.size() && rows[end].value == rows[begin].value; ++end) tied += weight(rows[end]);
    for (std::size_t i = begin; i < end; ++i)
      (rows[i].signal ? units[rows[i].cluster].signal_score : units[rows[i].cluster].noise_score) +=
          weight(rows[i]) * (below + tied / 2);
    below += tied;
  }
  std::vector<UnitScores> out;
  for (const auto& [cluster, unit] : units) out.push_back(unit);
  return out;
}

/// The arrangements of labels: paired units with their sides as they are or exchanged, and of the others any as many as
/// signal has.
class Arrangements {
 public:
  explicit Arrangements(const std::vector<UnitScores>& units) {
    for (const UnitScores& unit : units) {
      if (unit.noise_rows > 0 && unit.signal_rows > 0) {
        add_paired(unit);
      } else {
        lone_.push_back(unit.noise_score + unit.signal_score);
        if (unit.signal_rows > 0) std::swap(lone_.back(), lone_[signals_++]);
      }
    }
  }

  std::size_t paired() const { return paired_; }
  std::size_t signals() const { return signals_; }
  std::size_t noises() const { return lone_.size() - signals_; }

  /// How many there are.
  double count() const { return std::round(arrangements_of(paired_, noises(), signals_)); }

  /// The observed area: the scores S of m units' sides have U = S - m^2 / 2 (Mann & Whitney 1947).
  double area() const {
    const auto m = static_cast<double>(paired_ + signals_), n = static_cast<double>(paired_ + noises());
    return (observed() - m * m / 2) / (m * n);
  }

  /// Of all arrangements, how many have at least the observed area.
  std::size_t all_reaching() const {
    const double least = reached();
    std::size_t out = 0;
    std::vector<char> chosen(lone_.size());
    std::fill(chosen.end() - static_cast<std::ptrdiff_t>(signals_), chosen.end(), 1);
    do {
      double lone = unswapped_;
      for (std::size_t i = 0; i < lone_.size(); ++i)
        if (chosen[i] != 0) lone += lone_[i];
      for (std::uint64_t swaps = 0; swaps < std::uint64_t{1} << paired_; ++swaps) {
        double score = lone;
        for (std::size_t group = 0; group < swaps_.size(); ++group) score += swaps_[group][swaps >> 8 * group & 255];
        out += score >= least;
      }
    } while (std::next_permutation(chosen.begin(), chosen.end()));
    return out;
  }

  /// The same of `draws` arrangements at random.
  std::size_t drawn_reaching(std::size_t draws) {
    const double least = reached();
    std::mt19937_64 generator(20250101);
    std::size_t out = 0;
    for (std::size_t draw = 0; draw < draws; ++draw) {
      if (noises() > 0)
        for (std::size_t i = 0; i < signals_; ++i) std::swap(lone_[i], lone_[i + below(lone_.size() - i, generator())]);
      double score = observed();
      std::uint64_t bits = 0;
      for (std::size_t group = 0; group < swaps_.size(); ++group, bits >>= 8) {
        if (group % 8 == 0) bits = generator();
        score += swaps_[group][bits & 255];
      }
      out += score >= least;
    }
    return out;
  }

 private:
  void add_paired(const UnitScores& unit) {
    unswapped_ += unit.signal_score;
    const std::size_t bit = paired_++ % 8;
    if (bit == 0) swaps_.emplace_back();
    for (std::size_t swaps = 0; swaps < 256; ++swaps)
      if ((swaps >> bit & 1) != 0) swaps_.back()[swaps] += unit.noise_score - unit.signal_score;
  }

  double observed() const {
    return std::accumulate(lone_.begin(), lone_.begin() + static_cast<std::ptrdiff_t>(signals_), unswapped_);
  }

  /// The observed sum, less what the order of additions may do to an equal one.
  double reached() const { return observed() - 1e-11 * (1 + std::abs(observed())); }

  /// A number below n, of n < 2^32, from 64 random bits: uneven by less than 2^-32.
  static std::size_t below(std::size_t n, std::uint64_t bits) { return (bits >> 32) * n >> 32; }

  std::size_t paired_ = 0, signals_ = 0;
  double unswapped_ = 0;                        // signal's scores of all paired units
  std::vector<std::array<double, 256>> swaps_;  // of eight paired units each: what their exchanges, by bits, add to it
  std::vector<double> lone_;                    // scores of units on one side, signal's first
};

}  // namespace detail

/// One-sided permutation test that signal's distances rank above those of noise. Statistic: the area under the ROC
/// curve over units (the probability that a row of a unit of signal lies above one of a unit of noise), by ranks among
/// the rows of both sides together, which no arrangement changes. "Noise" and "signal" are exchanged by unit: on both
/// sides at once where a unit has rows on both, between units where not. p = (1 + hits) / (1 + draws) (Phipson & Smyth
/// 2010, Stat. Appl. Genet. Mol. Biol. 9:39), or hits / all where there are no more than `draws` + 1 (scipy's
/// permutation_test). Where units are independent of one another, and what is called noise in them is exchangeable with
/// what is called signal, p is at most x in no more than x of all cases, however the rows of a unit hang together and
/// whatever their distribution. Sides of a unit that have rows at other steps are not exchangeable, as distances grow
/// by the step: verdicts take rows at the same steps of both (verdict_rows.hpp). Held to 1 % by simulation with prompts
/// as units in tests/compare/permutation.cpp.
/// Nothing where a side is empty. Deterministic.
inline std::optional<PermutationTest> permutation_test(const Sample& noise, const Sample& signal,
                                                       std::size_t draws = permutation_draws) {
  if (noise.values.empty() || signal.values.empty()) return {};
  detail::Arrangements arrangements(detail::score_units(noise, signal));
  PermutationTest out;
  out.area = arrangements.area();
  out.paired = arrangements.paired();
  out.noise_only = arrangements.noises();
  out.signal_only = arrangements.signals();
  const double all = arrangements.count();
  out.exhaustive = all <= static_cast<double>(draws + 1);
  out.arrangements = out.exhaustive ? static_cast<std::size_t>(all) : draws + 1;
  out.smallest_p = 1 / static_cast<double>(out.arrangements);
  const std::size_t hits = out.exhaustive ? arrangements.all_reaching() : 1 + arrangements.drawn_reaching(draws);
  out.p_value = static_cast<double>(hits) * out.smallest_p;
  return out;
}

namespace detail {

inline constexpr double noether_z = 2.3263478740408408 + 1.6448536269514722;  // normal quantiles of 0.99 and 0.95

}  // namespace detail

/// Units on each side with which the rank-sum test at a one-sided false-positive rate of 1 % finds, with 95 % power, a
/// signal that lies above noise with this probability: (z_0.99 + z_0.95)^2 / (6 (p - 1/2)^2) (Noether 1987, JASA
/// 82:645, equal groups). Nothing unless it is above 1/2.
inline std::optional<double> units_needed_apart(double above) {
  if (!(above > 0.5)) return {};
  return std::ceil(detail::noether_z * detail::noether_z / (6 * (above - 0.5) * (above - 0.5)));
}

/// Units on both sides with which the signed-rank test does so: (z_0.99 + z_0.95)^2 / (3 (p - 1/2)^2), p being the
/// probability that two units' differences, signal less noise, have a positive sum (the same).
inline std::optional<double> units_needed_paired(double positive_sum) {
  if (!(positive_sum > 0.5)) return {};
  return std::ceil(detail::noether_z * detail::noether_z / (3 * (positive_sum - 0.5) * (positive_sum - 0.5)));
}

/// The same from samples, by the mean scores of units: paired where every unit of signal is on both sides. Units count
/// as independent observations. Nothing for fewer than two, or where signal does not rank above noise.
inline std::optional<double> units_needed(const Sample& noise, const Sample& signal) {
  std::vector<double> differences, of_noise, of_signal;
  for (const detail::UnitScores& unit : detail::score_units(noise, signal)) {
    if (unit.noise_rows > 0) of_noise.push_back(unit.noise_score);
    if (unit.signal_rows > 0) of_signal.push_back(unit.signal_score);
    if (unit.noise_rows > 0 && unit.signal_rows > 0) differences.push_back(unit.signal_score - unit.noise_score);
  }
  if (of_noise.size() < 2 || of_signal.size() < 2) return {};
  double wins = 0, pairs = 0;
  const auto count = [&](double difference) {
    wins += difference > 0 ? 1 : difference == 0 ? 0.5 : 0;
    ++pairs;
  };
  if (differences.size() == of_signal.size()) {
    for (std::size_t i = 0; i < differences.size(); ++i)
      for (std::size_t j = i + 1; j < differences.size(); ++j) count(differences[i] + differences[j]);
    return units_needed_paired(wins / pairs);
  }
  for (const double x : of_signal)
    for (const double y : of_noise) count(x - y);
  return units_needed_apart(wins / pairs);
}

}  // namespace fpf::compare
