// Verdicts: whether a change of value stands out from noise, by which rule, and how much data that rests on.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/permutation.hpp>
#include <fpf/compare/statistics.hpp>
#include <fpf/compare/verdict_rows.hpp>
#include <fpf/compare/verdict_text.hpp>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace fpf::compare {

/// Fewest units on each side for an interval.
inline constexpr std::size_t fewest_units = 5;

/// The plan's rule: most of the signal's levels reach the threshold.
inline bool above_threshold(const Verdict& verdict) {
  return verdict.ratio && 2 * verdict.levels_reached > verdict.signal_levels;
}

/// Whether a comparison shows the noise of a scope.
inline bool is_noise_of(const Comparison& comparison, Scope scope) {
  if (scope == Scope::across_hardware) return comparison.kind == PairKind::cross_hardware_noise;
  return comparison.kind == PairKind::repetition || comparison.kind == PairKind::same_hardware_noise;
}

/// Whether a comparison shows what the change from the baseline to `value` does.
inline bool is_signal_of(const Analysis& analysis, const Comparison& comparison, Scope scope,
                         const std::string& value) {
  const PairKind kind = scope == Scope::across_hardware ? PairKind::cross_hardware_signal : PairKind::within_hardware;
  if (comparison.kind != kind || !comparison.against_baseline) return false;
  return analysis.configurations[comparison.a].value == value || analysis.configurations[comparison.b].value == value;
}

namespace detail {

/// Whether digests say that every configuration repeats bit for bit, so that a machine's own noise is zero.
inline bool repeats_exactly(const Analysis& analysis) {
  return std::ranges::all_of(analysis.configurations, [](const Configuration& c) {
    return c.stored_repetitions.empty() ||
           (c.reproducibility.basis == Reproducibility::Basis::digests && c.reproducibility.bit_exact);
  });
}

/// Rows' units as numbers from 0.
struct Units {
  std::vector<int> noise, signal;
};

/// Prompts are units where any data of theirs could be told from chance; where there is nothing to be told from, from
/// fewest_paired on.
inline Unit unit_of(const std::set<std::size_t>& noise, const std::set<std::size_t>& signal) {
  const auto paired = static_cast<std::size_t>(
      std::ranges::count_if(noise, [&](std::size_t prompt) { return signal.contains(prompt); }));
  const bool prompts = noise.empty() || signal.empty()
                           ? noise.size() + signal.size() >= fewest_paired
                           : can_reach_level(paired, noise.size() - paired, signal.size() - paired);
  return prompts ? Unit::prompt : Unit::step;
}

/// Chooses the unit and numbers the rows' units.
inline Units units_of(Verdict& verdict) {
  std::set<std::size_t> prompts, of_noise, of_signal;
  for (const RowPlace& place : verdict.noise_places) of_noise.insert(place.prompt);
  for (const RowPlace& place : verdict.signal_places) of_signal.insert(place.prompt);
  prompts.insert(of_noise.begin(), of_noise.end());
  prompts.insert(of_signal.begin(), of_signal.end());
  verdict.prompts = prompts.size();
  verdict.unit = unit_of(of_noise, of_signal);
  std::map<RowPlace, int> known;
  const auto numbered = [&](const std::vector<RowPlace>& places, std::size_t& distinct) {
    std::vector<int> out;
    for (const RowPlace& place : places) {
      const RowPlace unit = verdict.unit == Unit::prompt ? RowPlace{place.prompt, 0} : place;
      out.push_back(known.emplace(unit, static_cast<int>(known.size())).first->second);
    }
    distinct = std::set(out.begin(), out.end()).size();
    return out;
  };
  Units out;
  out.noise = numbered(verdict.noise_places, verdict.noise_units);
  out.signal = numbered(verdict.signal_places, verdict.signal_units);
  return out;
}

/// Decode steps and prompt ends of a unit of signal, on average.
inline double tokens_of_a_unit(const Verdict& verdict) {
  if (verdict.unit == Unit::step) return 1;
  const std::set<RowPlace> places(verdict.signal_places.begin(), verdict.signal_places.end());
  return static_cast<double>(places.size()) / static_cast<double>(verdict.signal_units);
}

/// The test, AUC, effect sizes and the need, from a verdict's distances.
inline void add_statistics(Verdict& verdict) {
  const Units units = units_of(verdict);
  if (verdict.noise.empty() || verdict.signal.empty()) return;
  const Sample noise{verdict.noise, units.noise}, signal{verdict.signal, units.signal};
  verdict.test = permutation_test(noise, signal);
  verdict.hedges_g = hedges_g(verdict.noise, verdict.signal);
  const RocSample sample(noise, signal);
  verdict.auc = sample.auc();
  verdict.cliffs_delta = 2 * *verdict.auc - 1;
  if (verdict.noise.size() >= fewest_noise_rows) verdict.partial_auc = sample.partial_auc(0.01);
  if (std::min(verdict.noise_units, verdict.signal_units) >= fewest_units) {
    if (const auto interval = bootstrap_auc(sample)) {
      verdict.auc_low = interval->low;
      verdict.auc_high = interval->high;
    }
  }
  if (verdict.noise_floor == 0) return;  // one unit shows it
  verdict.needed_units = units_needed(noise, signal);
  if (verdict.needed_units) verdict.needed_tokens = std::ceil(*verdict.needed_units * tokens_of_a_unit(verdict));
}

/// Equal values can still differ in bits: -0 and 0, or log-probabilities of other tokens.
inline Reason reason_of(const Verdict& verdict) {
  if (verdict.signal.empty() && verdict.signal_left_out == 0) return Reason::no_signal;
  const bool differs = std::ranges::any_of(verdict.signal, [](double d) { return d != 0; }) ||
                       (verdict.signal_bits_differ && !verdict.noise_bits_differ);
  if (!differs) return verdict.left_out_differ ? Reason::no_shared_steps : Reason::no_difference;
  if (verdict.noise.empty() && !verdict.noise_from_digests) return Reason::no_noise_measured;
  if (verdict.noise_floor == 0) return Reason::no_noise;
  if (!verdict.test->can_reject()) return Reason::too_few_units;
  if (verdict.test->rejects()) return Reason::test_rejects;
  return above_threshold(verdict) ? Reason::ratio_without_test : Reason::test_does_not_reject;
}

}  // namespace detail

/// Judges a verdict whose rows, noise floor and ratio are known. A change is detectable where the permutation test
/// (permutation.hpp) rejects at 1 %, or where there is no noise and it differs. Units are prompts where there are
/// enough of them to reject (fewest_paired), and then the rate holds however the rows of a prompt hang together, as
/// long as both sides have the same steps of it (take_rows()); of fewer prompts each step is a unit, which takes steps
/// as independent. The plan's ratio is shown, and makes nothing detectable: where it reaches the
/// threshold and the test does not reject, or where no data of so few units could be told from chance, the answer is
/// that one cannot tell.
inline void judge(Verdict& verdict) {
  detail::add_statistics(verdict);
  verdict.reason = detail::reason_of(verdict);
  verdict.answer = detail::answer_text(verdict);
}

namespace detail {

/// Hardware is what a file's author calls it. What the devices of the configurations call themselves, where that is not
/// the same; nothing where each bears its device's name, or no manifest says it.
inline std::string devices_text(const Analysis& analysis, const std::vector<const Comparison*>& rests_on) {
  std::map<std::string, std::set<std::string>> devices;  // by hardware
  for (const Comparison* comparison : rests_on)
    for (const std::size_t side : {comparison->a, comparison->b}) {
      const Configuration& one = analysis.configurations[side];
      if (!one.device.empty()) devices[one.hardware].insert(one.device);
    }
  std::map<std::set<std::string>, std::vector<std::string>> labels;  // by devices
  for (const auto& [hardware, names] : devices)
    if (names != std::set{hardware}) labels[names].push_back(hardware);
  std::vector<std::string> texts;
  for (const auto& [names, hardware] : labels)
    texts.push_back(fmt::format("{} {} {}", fmt::join(hardware, " and "), hardware.size() == 1 ? "is" : "are",
                                fmt::join(names, " and ")));
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// The conditions in which the comparisons differ that a verdict rests on, each once, and whether the weights are
/// known.
inline std::vector<Caveat> caveats_of(const Analysis& analysis, Scope scope,
                                      const std::vector<const Comparison*>& rests_on) {
  std::vector<std::string> differences;
  std::vector<Caveat> out;
  if (const std::string devices = devices_text(analysis, rests_on); scope == Scope::across_hardware && !devices.empty())
    out.push_back({CaveatKind::labelled_hardware, devices});
  for (const Comparison* comparison : rests_on)
    for (const std::string& one : comparison->also_differs)
      if (std::ranges::find(differences, one) == differences.end()) differences.push_back(one);
  if (!differences.empty()) out.push_back({CaveatKind::also_differs, fmt::format("{}", fmt::join(differences, ", "))});
  if (!analysis.weights_identified) out.push_back({CaveatKind::weights_not_identified, ""});
  return out;
}

inline Verdict verdict_of(const Analysis& analysis, const Tap& tap, Scope scope, const std::string& value) {
  Verdict out;
  out.tap = tap;
  out.scope = scope;
  out.baseline_value = *analysis.baseline_value;
  out.value = value;
  out.threshold = analysis.threshold;
  SideRows noise, signal;
  std::vector<const Comparison*> rests_on;
  for (const Comparison& comparison : analysis.comparisons) {
    const TapDistance* found = comparison.find(tap);
    if (found == nullptr) continue;
    const bool is_noise = is_noise_of(comparison, scope);
    if (!is_noise && !is_signal_of(analysis, comparison, scope, value)) continue;
    rests_on.push_back(&comparison);
    (is_noise ? noise : signal).add(*found, comparison.kind);
  }
  take_rows(out, noise, signal);
  out.noise_from_digests = scope == Scope::within_hardware && noise.rows.empty() && repeats_exactly(analysis);
  judge(out);
  out.caveats = caveats_of(analysis, scope, rests_on);
  out.text = text_of(out);
  return out;
}

}  // namespace detail

/// The values besides the baseline's, in the order of the configurations.
inline std::vector<std::string> tested_values(const Analysis& analysis) {
  std::vector<std::string> values;
  for (const Configuration& configuration : analysis.configurations)
    if (!configuration.baseline && std::ranges::find(values, configuration.value) == values.end())
      values.push_back(configuration.value);
  return values;
}

/// Many verdicts, each with its own error rate, are together sure to err: says how many by chance, in the notes.
inline void note_chance(Analysis& analysis) {
  const auto tests = std::ranges::count_if(
      analysis.verdicts, [](const Verdict& v) { return v.test && v.noise_floor > 0 && v.test->can_reject(); });
  if (const double by_chance = false_positive_rate * static_cast<double>(tests); by_chance >= 0.5)
    analysis.notes.push_back(fmt::format(
        "{} verdicts by test: if no change had an effect, about {:.1g} of them would still be called detectable", tests,
        by_chance));
}

namespace detail {

inline std::string timing_text(const TimingComparison& found) {
  if (!found.p_value) return fmt::format("{:.3f} times the run time; {}", found.ratio, name_of(found.outcome()));
  return fmt::format("{:.3f} times the run time, p = {:.2g} (Welch): {}", found.ratio, *found.p_value,
                     name_of(found.outcome()));
}

}  // namespace detail

/// One verdict for each value besides the baseline's, scope with a comparison of that kind, and tap. None
/// when values do not vary (experiment 0).
inline void add_verdicts(Analysis& analysis, unsigned threads = 0) {
  if (!analysis.baseline_value) return;
  std::vector<std::tuple<std::string, Scope, Tap>> asked;
  for (const std::string& value : tested_values(analysis)) {
    for (const Scope scope : {Scope::within_hardware, Scope::across_hardware}) {
      const bool measured = std::ranges::any_of(analysis.comparisons, [&](const Comparison& comparison) {
        return is_signal_of(analysis, comparison, scope, value);
      });
      if (!measured) continue;
      for (const Tap& tap : analysis.taps) asked.emplace_back(value, scope, tap);
    }
  }
  analysis.verdicts.resize(asked.size());
  parallel_for(
      asked.size(),
      [&](std::size_t i) {
        const auto& [value, scope, tap] = asked[i];
        analysis.verdicts[i] = detail::verdict_of(analysis, tap, scope, value);
      },
      threads);
  note_chance(analysis);
}

/// Timing of every two configurations of one hardware type and different values. Run time separates them when
/// Welch's test rejects equal means at 1 %.
inline void add_timing(Analysis& analysis) {
  const auto& configurations = analysis.configurations;
  for (std::size_t a = 0; a < configurations.size(); ++a) {
    for (std::size_t b = a + 1; b < configurations.size(); ++b) {
      const Timing &x = configurations[a].timing, &y = configurations[b].timing;
      if (configurations[a].hardware != configurations[b].hardware ||
          configurations[a].value == configurations[b].value)
        continue;
      if (!(x.mean > 0) || !(y.mean > 0)) continue;
      TimingComparison found{
          .a = a, .b = b, .ratio = y.mean / x.mean, .t = {}, .p_value = {}, .separated = false, .text = {}};
      if (const auto test = welch_test(x.seconds, y.seconds)) {
        found.t = test->t;
        found.p_value = test->p_value;
        found.separated = test->p_value < 0.01;
      }
      found.text = detail::timing_text(found);
      analysis.timing.push_back(std::move(found));
    }
  }
}

}  // namespace fpf::compare
