// Verdicts: whether a change of value stands out from noise, by which rule, and how much data that rests on.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/statistics.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fpf::compare {

/// Fewest decode steps on each side from which a rank verdict is given.
inline constexpr std::size_t fewest_steps = 5;

/// Fewest rows of noise for the partial AUC below 1 % false positives: of fewer, not one lies in that part.
inline constexpr std::size_t fewest_noise_rows = 100;

/// Rule of the rank test: the 95 % interval of the AUC lies above chance.
inline bool above_chance(const Verdict& verdict) { return verdict.auc_low && *verdict.auc_low > 0.5; }

/// The plan's rule: most of the signal comparisons reach the threshold.
inline bool above_threshold(const Verdict& verdict) {
  return verdict.ratio && 2 * verdict.detectable_comparisons > verdict.signal_comparisons;
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

inline void add_rows(const TapDistance& tap, std::vector<double>& values, std::vector<int>& steps) {
  for (const RowDistance& row : tap.rows) {
    values.push_back(row[deciding]);
    steps.push_back(row.step);
  }
}

/// Whether digests say that every configuration repeats bit for bit, so that a machine's own noise is zero.
inline bool repeats_exactly(const Analysis& analysis) {
  return std::ranges::all_of(analysis.configurations, [](const Configuration& c) {
    return c.stored_repetitions.empty() ||
           (c.reproducibility.basis == Reproducibility::Basis::digests && c.reproducibility.bit_exact);
  });
}

inline std::size_t distinct(const std::vector<int>& steps) { return std::set(steps.begin(), steps.end()).size(); }

}  // namespace detail

/// Whether noise and signal have decode steps enough for a rank verdict.
inline bool enough_steps(const Verdict& verdict) {
  return detail::distinct(verdict.noise_steps) >= fewest_steps &&
         detail::distinct(verdict.signal_steps) >= fewest_steps;
}

/// The outcome by the rules, of a verdict with its distances and statistics. Equal values can still differ in bits: -0 and
/// 0, or log-probabilities of other tokens.
inline Outcome outcome_of(const Verdict& verdict) {
  const bool differs = std::ranges::any_of(verdict.signal, [](double d) { return d != 0; }) ||
                       (verdict.signal_bits_differ && !verdict.noise_bits_differ);
  const bool noise_known = verdict.noise_from_digests || !verdict.noise.empty();
  if (!noise_known || verdict.signal.empty()) return Outcome::not_enough_data;
  if (verdict.noise_floor == 0) return differs ? Outcome::zero_noise : Outcome::identical;
  if (!enough_steps(verdict)) return Outcome::not_enough_data;
  const bool ratio = above_threshold(verdict), rank = above_chance(verdict);
  if (ratio && rank) return Outcome::detectable;
  if (ratio) return Outcome::ratio_only;
  return rank ? Outcome::rank_only : Outcome::not_detectable;
}

namespace detail {

inline std::string noise_text(const Verdict& verdict) {
  const char* where = verdict.scope == Scope::across_hardware ? "between hardware types" : "within one hardware type";
  if (verdict.noise_from_digests) return fmt::format("noise {} (zero: all repetitions have equal digests)", where);
  return fmt::format("{} rows of noise {} in {} comparison{}", verdict.noise.size(), where, verdict.noise_comparisons,
                     verdict.noise_comparisons == 1 ? "" : "s");
}

inline std::string missing_text(const Verdict& verdict) {
  if (verdict.signal.empty()) return "no row with equal inputs shows the change";
  if (verdict.noise.empty())
    return verdict.scope == Scope::across_hardware
               ? "no noise between hardware types was measured (one value on two types is needed)"
               : "no noise within one hardware type was measured (repetitions or a second machine are "
                 "needed)";
  return fmt::format("{} steps of signal and {} of noise, at least {} of each are needed",
                     distinct(verdict.signal_steps), distinct(verdict.noise_steps), fewest_steps);
}

inline std::string partial_auc_text(const Verdict& verdict) {
  if (verdict.partial_auc) return fmt::format("partial AUC below 1 % false positives {:.3f}", *verdict.partial_auc);
  return fmt::format("partial AUC below 1 % false positives: not enough data ({} rows of noise, {} are needed)",
                     verdict.noise.size(), fewest_noise_rows);
}

inline std::string basis_text(const Verdict& verdict) {
  const std::string basis =
      fmt::format("{} rows in {} comparison{} against {}", verdict.signal.size(), verdict.signal_comparisons,
                  verdict.signal_comparisons == 1 ? "" : "s", noise_text(verdict));
  switch (verdict.outcome) {
    case Outcome::not_enough_data:
      return "not enough data: " + missing_text(verdict);
    case Outcome::identical:
      return (verdict.signal_bits_differ ? "no difference but in bits, which noise has too: "
                                         : "no difference at all: ") +
             basis;
    case Outcome::zero_noise:
      return fmt::format("noise floor is zero: any difference is detectable{}; {}",
                         verdict.signal_level == 0 ? ", here in bits of equal values or in token ids" : "", basis);
    default:
      break;
  }
  const std::string area = verdict.auc_low ? fmt::format("AUC {:.3f}, 95 % interval {:.3f} to {:.3f}", *verdict.auc,
                                                         *verdict.auc_low, *verdict.auc_high)
                                           : "AUC without an interval";
  return fmt::format("{}: {:.3g} times the noise floor, {} of {} comparisons reach {:g}; {}; {}; {}",
                     name_of(verdict.outcome), *verdict.ratio, verdict.detectable_comparisons,
                     verdict.signal_comparisons, verdict.threshold, area, partial_auc_text(verdict), basis);
}

}  // namespace detail

/// Verdict::text.
inline std::string text_of(const Verdict& verdict) {
  std::string out = detail::basis_text(verdict);
  for (const Caveat& caveat : verdict.caveats) out += "; " + caveat.text();
  return out;
}

namespace detail {

/// Hardware is what a file's author calls it. What the devices of the configurations call themselves, where that is not the
/// same; nothing where each bears its device's name, or no manifest says it.
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

/// The conditions in which the comparisons differ that a verdict rests on, each once, and whether the weights are known.
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

}  // namespace detail

/// AUC, effect sizes and tokens needed, from a verdict's distances.
inline void add_statistics(Verdict& verdict) {
  if (verdict.noise.empty() || verdict.signal.empty()) return;
  const RocSample sample({verdict.noise, verdict.noise_steps}, {verdict.signal, verdict.signal_steps});
  verdict.auc = sample.auc();
  if (verdict.noise.size() >= fewest_noise_rows) verdict.partial_auc = sample.partial_auc(0.01);
  verdict.cliffs_delta = 2 * *verdict.auc - 1;
  verdict.hedges_g = hedges_g(verdict.noise, verdict.signal);
  if (enough_steps(verdict)) {
    if (const auto interval = bootstrap_auc(sample)) {
      verdict.auc_low = interval->low;
      verdict.auc_high = interval->high;
    }
  }
  if (above_chance(verdict)) verdict.tokens_needed = tokens_needed(*verdict.auc);
}

namespace detail {

inline Verdict verdict_of(const Analysis& analysis, const Tap& tap, Scope scope, const std::string& value) {
  Verdict out;
  out.tap = tap;
  out.scope = scope;
  out.baseline_value = *analysis.baseline_value;
  out.value = value;
  out.threshold = analysis.threshold;
  std::vector<double> floors, levels;  // largest row of each comparison
  std::vector<const Comparison*> rests_on;
  for (const Comparison& comparison : analysis.comparisons) {
    const TapDistance* found = comparison.find(tap);
    if (found == nullptr) continue;
    const bool noise = is_noise_of(comparison, scope);
    if (noise || is_signal_of(analysis, comparison, scope, value)) rests_on.push_back(&comparison);
    if (noise) {
      add_rows(*found, out.noise, out.noise_steps);
      out.noise_bits_differ |= found->first_difference.has_value();
      floors.push_back((*found)[deciding_max]);
    } else if (is_signal_of(analysis, comparison, scope, value)) {
      add_rows(*found, out.signal, out.signal_steps);
      out.signal_bits_differ |= found->first_difference.has_value();
      levels.push_back((*found)[deciding_max]);
    }
  }
  out.noise_comparisons = floors.size();
  out.signal_comparisons = levels.size();
  if (!floors.empty()) out.noise_floor = mean_of(floors);
  if (!levels.empty()) out.signal_level = mean_of(levels);
  out.noise_from_digests = scope == Scope::within_hardware && floors.empty() && repeats_exactly(analysis);
  if (out.noise_floor > 0 && !levels.empty()) {
    out.ratio = out.signal_level / out.noise_floor;
    out.detectable_comparisons = static_cast<std::size_t>(
        std::ranges::count_if(levels, [&](double level) { return level / out.noise_floor >= out.threshold; }));
  }
  add_statistics(out);
  out.outcome = outcome_of(out);
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
  const auto intervals =
      std::ranges::count_if(analysis.verdicts, [](const Verdict& v) { return v.auc_low.has_value(); });
  if (const double by_chance = 0.025 * static_cast<double>(intervals); by_chance >= 0.5)
    analysis.notes.push_back(
        fmt::format("{} verdicts by rank: if no change had an effect, about {:.1g} of them would still find one",
                    intervals, by_chance));
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
inline void add_verdicts(Analysis& analysis) {
  if (!analysis.baseline_value) return;
  for (const std::string& value : tested_values(analysis)) {
    for (const Scope scope : {Scope::within_hardware, Scope::across_hardware}) {
      const bool measured = std::ranges::any_of(analysis.comparisons, [&](const Comparison& comparison) {
        return is_signal_of(analysis, comparison, scope, value);
      });
      if (!measured) continue;
      for (const Tap& tap : analysis.taps) analysis.verdicts.push_back(detail::verdict_of(analysis, tap, scope, value));
    }
  }
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
