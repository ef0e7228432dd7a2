// The default analysis: every pair of configurations, tap by tap, over rows whose inputs are equal.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/configuration.hpp>
#include <fpf/compare/join.hpp>
#include <fpf/compare/machine_code.hpp>
#include <fpf/compare/origin.hpp>
#include <fpf/compare/pairing.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/verdict.hpp>
#include <fpf/evidence/accompaniment.hpp>
#include <fpf/evidence/reader.hpp>
#include <fpf/evidence/schema_fields.hpp>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare {

/// What the default analysis takes.
struct AnalysisOptions {
  std::vector<evidence::StoredSignal> signals{evidence::StoredSignal::key_vectors};
  bool all_layers = false;  // else `layer`, or the last layer of each signal
  std::optional<int> layer;
  double threshold = 1.5;
  bool after_divergence = false;  // also compare rows whose inputs differ
  unsigned threads = 0;           // 0: one per processor
};

namespace detail {

inline constexpr std::size_t no_run = static_cast<std::size_t>(-1);

/// One stored run that takes part, with its rows at the current tap.
struct Source {
  std::size_t member = 0;
  const evidence::StoredRun* run = nullptr;
  evidence::Rows<float> rows;
  bool representable = true;  // every value is one of the signal's own dtype
};

/// A comparison in the making: which sources it takes.
struct Pair {
  std::size_t a = 0, b = 0;  // indices into sources
  int before = 0;            // rows at positions below this have equal inputs
};

inline std::optional<int> first_divergent_step(const evidence::StoredRun& a, const evidence::StoredRun& b) {
  std::map<int, std::int64_t> tokens;
  for (const auto& step : a.steps)
    if (step.token_id) tokens.emplace(step.step, *step.token_id);
  std::optional<int> first;
  for (const auto& step : b.steps) {
    const auto other = tokens.find(step.step);
    if (other == tokens.end() || !step.token_id || *step.token_id == other->second) continue;
    if (!first || step.step < *first) first = step.step;
  }
  return first;
}

inline int common_steps(const evidence::StoredRun& a, const evidence::StoredRun& b, int before) {
  std::set<int> steps;
  for (const auto& step : a.steps) steps.insert(step.step);
  return static_cast<int>(
      std::ranges::count_if(b.steps, [&](const auto& s) { return s.step < before && steps.contains(s.step); }));
}

inline PairKind kind_of(const Member& a, const Member& b) {
  const bool value = equal_values(a.value, b.value), hardware = a.hardware == b.hardware;
  if (value) return hardware ? PairKind::same_hardware_noise : PairKind::cross_hardware_noise;
  return hardware ? PairKind::within_hardware : PairKind::cross_hardware_signal;
}

inline std::vector<Tap> taps_of(const JoinedExperiment& experiment, const AnalysisOptions& options) {
  std::vector<Tap> taps;
  for (const auto signal : options.signals) {
    auto layers = experiment.layers(signal);  // -1 alone of what is the head's
    const bool one_layer = options.layer && evidence::info(signal).per_layer;
    if (one_layer && std::ranges::find(layers, *options.layer) == layers.end())
      fail("{} has no {} at layer {}: expected one of {}", experiment.files.front().name(), evidence::name_of(signal),
           *options.layer, layers.empty() ? "none" : fmt::format("{}", fmt::join(layers, ", ")));
    if (one_layer)
      layers = {*options.layer};
    else if (!options.all_layers && !layers.empty())
      layers = {layers.back()};
    for (const int layer : layers)
      for (const View view : views_of(evidence::info(signal))) taps.push_back({{signal, view}, layer});
  }
  if (taps.empty()) fail("{} holds none of the signals asked for", experiment.files.front().name());
  return taps;
}

/// The dtype that extraction_config.signal_dtypes names for a signal; float32 where it names none.
inline DType dtype_of(const JoinedExperiment& experiment, evidence::StoredSignal signal) {
  const auto* config = member_of(experiment.metadata(), "extraction_config");
  const auto* dtypes = config == nullptr ? nullptr : member_of(*config, "signal_dtypes");
  const auto* name = dtypes == nullptr ? nullptr : member_of(*dtypes, std::string(name_of(signal)).c_str());
  if (name == nullptr || !name->is_string()) return DType::float32;
  const DType dtype = parse_dtype(name->get_ref<const std::string&>());
  return dtype == DType::bfloat16 || dtype == DType::float16 ? dtype : DType::float32;
}

/// The pairs to compare, and the sources they need.
struct Schedule {
  std::vector<Source> sources;
  std::vector<Pair> pairs;  // parallel to Analysis::comparisons
};

inline void add_pair(const JoinedExperiment& experiment, const AnalysisOptions& options, Schedule& schedule,
                     Analysis& analysis, std::size_t a, std::size_t b) {
  const Source &x = schedule.sources[a], &y = schedule.sources[b];
  const Member &left = experiment.members[x.member], &right = experiment.members[y.member];
  Comparison comparison;
  comparison.a = x.member;
  comparison.b = y.member;
  comparison.repetition_a = x.run->rep_id;
  comparison.repetition_b = y.run->rep_id;
  comparison.kind = x.member == y.member ? PairKind::repetition : kind_of(left, right);
  comparison.against_baseline =
      analysis.configurations[x.member].baseline != analysis.configurations[y.member].baseline;
  comparison.first_divergent_step = first_divergent_step(*x.run, *y.run);
  const bool swapped = left.hardware != right.hardware
                           ? right.hardware < left.hardware  // not one text for each direction
                           : analysis.configurations[y.member].baseline && !analysis.configurations[x.member].baseline;
  if (x.member != y.member)
    for (const auto& one : condition_differences(experiment, swapped ? right : left, swapped ? left : right))
      comparison.also_differs.push_back(one.text());
  const int before = options.after_divergence
                         ? std::numeric_limits<int>::max()
                         : comparison.first_divergent_step.value_or(std::numeric_limits<int>::max());
  comparison.steps_compared = common_steps(*x.run, *y.run, before);
  if (x.run->prompt_tokens && y.run->prompt_tokens && *x.run->prompt_tokens != *y.run->prompt_tokens)
    fail("{} and {} cannot be compared: their prompts end at positions {} and {}", left.id, right.id,
         *x.run->prompt_tokens, *y.run->prompt_tokens);
  analysis.comparisons.push_back(std::move(comparison));
  schedule.pairs.push_back({a, b, before});
}

inline Schedule schedule_of(const JoinedExperiment& experiment, const AnalysisOptions& options, Analysis& analysis) {
  Schedule out;
  std::vector<std::size_t> first(experiment.members.size(), no_run);
  std::vector<std::pair<std::size_t, std::size_t>> repetitions;
  for (std::size_t m = 0; m < experiment.members.size(); ++m) {
    const Member& member = experiment.members[m];
    const std::size_t begin = out.sources.size();
    for (const auto* run : member.runs) {
      if (run == member.first_run()) first[m] = out.sources.size();
      out.sources.push_back({.member = m, .run = run, .rows = {}});
    }
    for (std::size_t i = begin; i < out.sources.size(); ++i)
      for (std::size_t j = i + 1; j < out.sources.size(); ++j) repetitions.emplace_back(i, j);
  }
  for (const auto& [i, j] : repetitions) add_pair(experiment, options, out, analysis, i, j);
  for (std::size_t a = 0; a < first.size(); ++a)
    for (std::size_t b = a + 1; b < first.size(); ++b)
      if (first[a] != no_run && first[b] != no_run) add_pair(experiment, options, out, analysis, first[a], first[b]);
  return out;
}

inline void read_tap(const JoinedExperiment& experiment, Schedule& schedule, const Tap& tap, DType dtype,
                     unsigned threads) {
  for (Source& source : schedule.sources) source.rows = {};  // not two taps' at a time
  parallel_for(
      schedule.sources.size(),
      [&](std::size_t i) {
        Source& source = schedule.sources[i];
        const auto& file = experiment.file_of(experiment.members[source.member]);
        source.rows = evidence::read_rows<float>(file, *source.run, tap.signal.stored, tap.layer);
        source.representable = representable(source.rows.values, dtype);
      },
      threads);
}

inline void compare_tap(const JoinedExperiment& experiment, const Schedule& schedule, Analysis& analysis,
                        const Tap& tap, DType dtype, unsigned threads) {
  std::vector<TapDistance> found(schedule.pairs.size());
  parallel_for(
      schedule.pairs.size(),
      [&](std::size_t p) {
        const Pair& pair = schedule.pairs[p];
        const Source &a = schedule.sources[pair.a], &b = schedule.sources[pair.b];
        const bool vectors = tap.layer >= 0 && a.rows.size() != 0 && b.rows.size() != 0;
        if (vectors && a.rows.row(0).size() != b.rows.row(0).size())
          fail("{} and {} cannot be compared: {} has {} numbers in the first and {} in the second",
               experiment.members[a.member].id, experiment.members[b.member].id, label_of(tap), a.rows.row(0).size(),
               b.rows.row(0).size());
        found[p] =
            tap_distance(tap, a.rows, b.rows, pair.before, a.representable && b.representable ? dtype : DType::float32);
      },
      threads);
  for (std::size_t p = 0; p < found.size(); ++p)
    if (!found[p].rows.empty()) analysis.comparisons[p].taps.push_back(std::move(found[p]));
}

inline void note_rows(const JoinedExperiment& experiment, const Schedule& schedule, Analysis& analysis, const Tap& tap,
                      DType dtype) {
  for (const Source& source : schedule.sources) {
    const std::string& id = experiment.members[source.member].id;
    if (source.rows.contradictions != 0)
      analysis.notes.push_back(fmt::format(
          "{}, {}: {} rows repeat a position with other values than where it stands first; the first counts", id,
          label_of(tap), source.rows.contradictions));
    if (source.rows.size() == 0) analysis.notes.push_back(fmt::format("{} has no {}", id, label_of(tap)));
    if (!source.representable)
      analysis.notes.push_back(
          fmt::format("{}, {}: not all values are {} as the file says; ULPs are counted in float32", id, label_of(tap),
                      name_of(dtype)));
  }
}

/// Bit-exactness from stored repetitions, where there are no digests.
inline void add_stored_reproducibility(Analysis& analysis) {
  for (const Comparison& comparison : analysis.comparisons) {
    if (comparison.kind != PairKind::repetition) continue;
    Reproducibility& found = analysis.configurations[comparison.a].reproducibility;
    if (found.basis == Reproducibility::Basis::digests) continue;
    if (found.basis == Reproducibility::Basis::none) found.bit_exact = true;
    found.basis = Reproducibility::Basis::vectors;
    if (comparison.first_divergent_step) found.bit_exact = false;
    for (const TapDistance& tap : comparison.taps) {
      if (!tap.first_difference) continue;
      found.bit_exact = false;
      if (found.first_difference.empty())
        found.first_difference = fmt::format("step {}, {}", *tap.first_difference, label_of(tap.tap));
    }
  }
}

inline void add_matrices(Analysis& analysis) {
  const std::size_t n = analysis.configurations.size();
  for (const Tap& tap : analysis.taps) {
    DistanceMatrix matrix{.tap = tap, .size = n, .max = std::vector(n * n, std::nan("")), .mean = {}};
    for (std::size_t i = 0; i < n; ++i) matrix.max[i * n + i] = 0;
    matrix.mean = matrix.max;
    for (const Comparison& comparison : analysis.comparisons) {
      const TapDistance* found = comparison.find(tap);
      if (found == nullptr || comparison.kind == PairKind::repetition) continue;
      for (const std::size_t cell : {comparison.a * n + comparison.b, comparison.b * n + comparison.a}) {
        matrix.max[cell] = (*found)[deciding_max];
        matrix.mean[cell] = (*found)[deciding_mean];
      }
    }
    analysis.matrices.push_back(std::move(matrix));
  }
}

inline void note_comparisons(Analysis& analysis) {
  for (const Comparison& comparison : analysis.comparisons)
    if (const auto note =
            comparison.kind == PairKind::repetition
                ? std::nullopt
                : machine_code_note(analysis.configurations[comparison.a], analysis.configurations[comparison.b]))
      analysis.notes.push_back(*note);
  for (const Comparison& comparison : analysis.comparisons) {
    if (!comparison.first_divergent_step) continue;
    const auto &a = analysis.configurations[comparison.a], &b = analysis.configurations[comparison.b];
    analysis.notes.push_back(fmt::format(
        "{} and {}: tokens differ from step {} on; {}", a.id, b.id, *comparison.first_divergent_step,
        analysis.after_divergence ? "later steps are compared all the same" : "rows before it are compared"));
  }
  if (!analysis.conditions_recorded)
    analysis.notes.emplace_back(
        "not all configurations have a manifest: device, threads and libraries are compared as far as files name them");
  for (const Configuration& configuration : analysis.configurations) {
    if (configuration.stored_repetitions.empty())
      analysis.notes.push_back(fmt::format("{} has no runs", configuration.id));
    if (!configuration.status.empty())
      analysis.notes.push_back(fmt::format("{} ended early, {}", configuration.id, configuration.status));
  }
}

}  // namespace detail

/// Analyses an experiment by spec: marked baseline, unique rows, equal inputs. Memory holds one tap's rows at
/// a time. Throws Error for what the reader refuses, for a layer that no file has, and for runs that cannot
/// be compared.
inline Analysis analyse(const JoinedExperiment& experiment, const AnalysisOptions& options = {}) {
  Analysis out;
  out.experiment_type = detail::metadata_text(experiment.files.front(), "experiment_type");
  out.variable = detail::metadata_text(experiment.files.front(), "variable_tested");
  out.model = value_text(experiment.metadata().value("model", nlohmann::json("unknown")));
  for (const auto& file : experiment.files) out.files.push_back(file.name());
  out.threshold = options.threshold;
  out.after_divergence = options.after_divergence;
  out.weights_identified = weights_identified(experiment);
  out.conditions_recorded = conditions_recorded(experiment);
  out.not_checked = not_checked(experiment);
  out.configurations = configurations_of(experiment);
  out.hardware = experiment.hardware();
  add_origin(out, experiment);
  if (const auto baseline = baseline_value(experiment)) {
    out.baseline_value = value_text(*baseline);
    for (std::size_t i = 0; i < experiment.members.size(); ++i)
      out.configurations[i].baseline = equal_values(experiment.members[i].value, *baseline);
  }
  out.taps = detail::taps_of(experiment, options);
  detail::Schedule schedule = detail::schedule_of(experiment, options, out);
  const Tap* loaded = nullptr;  // the views of a signal share one reading
  for (const Tap& tap : out.taps) {
    const DType dtype = detail::dtype_of(experiment, tap.signal.stored);
    if (loaded == nullptr || loaded->signal.stored != tap.signal.stored || loaded->layer != tap.layer) {
      detail::read_tap(experiment, schedule, tap, dtype, options.threads);
      detail::note_rows(experiment, schedule, out, tap, dtype);
    }
    loaded = &tap;
    detail::compare_tap(experiment, schedule, out, tap, dtype, options.threads);
  }
  detail::add_stored_reproducibility(out);
  detail::add_matrices(out);
  detail::note_comparisons(out);
  for (std::size_t i = 0; i < experiment.members.size(); ++i)
    for (const auto* run : experiment.members[i].runs)
      if (const auto fault = evidence::unaccompanied(run->members))
        out.notes.push_back(out.configurations[i].id + ": " + *fault + ", so that it may show less of it");
  add_verdicts(out);
  add_timing(out);
  return out;
}

}  // namespace fpf::compare
