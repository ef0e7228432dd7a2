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
#include <fpf/compare/run_tokens.hpp>
#include <fpf/compare/verdict.hpp>
#include <fpf/evidence/accompaniment.hpp>
#include <fpf/evidence/prompts.hpp>
#include <fpf/evidence/reader.hpp>
#include <fpf/evidence/schema_fields.hpp>
#include <limits>
#include <map>
#include <optional>
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

/// One stored run that takes part, with its rows at the current tap.
struct Source {
  std::size_t member = 0, prompt = 0;
  const evidence::StoredRun* run = nullptr;
  evidence::Rows<float> rows;
  bool representable = true;  // every value is one of the signal's own dtype
};

/// A comparison in the making, of one prompt: which sources it takes.
struct Pair {
  std::size_t a = 0, b = 0;  // indices into sources
  int before = 0;            // rows at positions below this have equal inputs
};

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
  std::vector<std::vector<Pair>> pairs;  // parallel to Analysis::comparisons, and to each one's prompts
};

/// Two sources of one prompt after another.
using SourcePairs = std::vector<std::pair<std::size_t, std::size_t>>;

inline void add_comparison(const JoinedExperiment& experiment, const AnalysisOptions& options, Schedule& schedule,
                           Analysis& analysis, const SourcePairs& pairs) {
  const Source &x = schedule.sources[pairs.front().first], &y = schedule.sources[pairs.front().second];
  const Member &left = experiment.members[x.member], &right = experiment.members[y.member];
  Comparison comparison;
  comparison.a = x.member;
  comparison.b = y.member;
  comparison.repetition_a = x.run->rep_id;
  comparison.repetition_b = y.run->rep_id;
  comparison.kind = x.member == y.member ? PairKind::repetition : kind_of(left, right);
  comparison.against_baseline =
      analysis.configurations[x.member].baseline != analysis.configurations[y.member].baseline;
  const bool swapped = left.hardware != right.hardware
                           ? right.hardware < left.hardware  // not one text for each direction
                           : analysis.configurations[y.member].baseline && !analysis.configurations[x.member].baseline;
  if (x.member != y.member)
    for (const auto& one : condition_differences(experiment, swapped ? right : left, swapped ? left : right))
      comparison.also_differs.push_back(one.text());
  auto& scheduled = schedule.pairs.emplace_back();
  for (const auto& [a, b] : pairs) {
    const evidence::StoredRun &one = *schedule.sources[a].run, &other = *schedule.sources[b].run;
    if (one.prompt_tokens && other.prompt_tokens && *one.prompt_tokens != *other.prompt_tokens)
      fail("{} and {} cannot be compared: their prompts end at positions {} and {}", left.id, right.id,
           *one.prompt_tokens, *other.prompt_tokens);
    comparison.prompts.push_back(steps_of(one, other, schedule.sources[a].prompt, options.after_divergence));
    const auto& divergent = comparison.prompts.back().first_divergent_step;
    constexpr int never = std::numeric_limits<int>::max();
    scheduled.push_back({a, b, options.after_divergence ? never : divergent.value_or(never)});
  }
  analysis.comparisons.push_back(std::move(comparison));
}

/// Every two repetitions of a configuration, over the prompts for which both are stored.
inline std::vector<SourcePairs> repetitions_of(const Schedule& schedule,
                                               const std::vector<std::vector<std::size_t>>& runs) {
  std::vector<SourcePairs> out;
  std::map<std::pair<int, int>, std::size_t> known;  // by both rep_ids
  for (const auto& of_prompt : runs)
    for (std::size_t i = 0; i < of_prompt.size(); ++i)
      for (std::size_t j = i + 1; j < of_prompt.size(); ++j) {
        const int a = schedule.sources[of_prompt[i]].run->rep_id, b = schedule.sources[of_prompt[j]].run->rep_id;
        const auto [found, is_new] = known.emplace(std::pair(a, b), out.size());
        if (is_new) out.emplace_back();
        out[found->second].emplace_back(of_prompt[i], of_prompt[j]);
      }
  return out;
}

inline Schedule schedule_of(const JoinedExperiment& experiment, const AnalysisOptions& options, Analysis& analysis) {
  Schedule out;
  const std::size_t prompts = experiment.prompts.size();
  std::vector<std::vector<std::size_t>> first(experiment.members.size());  // of each prompt the run that is compared
  std::vector<SourcePairs> repetitions;
  for (std::size_t m = 0; m < experiment.members.size(); ++m) {
    std::vector<std::vector<std::size_t>> runs(prompts);
    for (std::size_t p = 0; p < prompts; ++p) {
      for (const auto* run : experiment.members[m].runs_of(p)) {
        runs[p].push_back(out.sources.size());
        out.sources.push_back({.member = m, .prompt = p, .run = run, .rows = {}});
      }
      const auto lowest =
          std::ranges::min_element(runs[p], {}, [&](std::size_t s) { return out.sources[s].run->rep_id; });
      if (lowest != runs[p].end()) first[m].push_back(*lowest);
    }
    for (auto& pairs : repetitions_of(out, runs)) repetitions.push_back(std::move(pairs));
  }
  for (const auto& pairs : repetitions) add_comparison(experiment, options, out, analysis, pairs);
  for (std::size_t a = 0; a < first.size(); ++a)
    for (std::size_t b = a + 1; b < first.size(); ++b) {
      if (first[a].empty() || first[b].empty()) continue;  // else both have run every prompt (prompts.hpp)
      SourcePairs pairs;
      for (std::size_t p = 0; p < first[a].size(); ++p) pairs.emplace_back(first[a][p], first[b][p]);
      add_comparison(experiment, options, out, analysis, pairs);
    }
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
  std::vector<std::pair<const Pair*, TapDistance*>> work;
  std::vector<std::vector<TapDistance>> found(schedule.pairs.size());
  for (std::size_t c = 0; c < found.size(); ++c) {
    found[c].resize(schedule.pairs[c].size());
    for (std::size_t p = 0; p < found[c].size(); ++p) work.emplace_back(&schedule.pairs[c][p], &found[c][p]);
  }
  const auto compare_rows = [&](std::size_t w) {
    const Pair& pair = *work[w].first;
    const Source &a = schedule.sources[pair.a], &b = schedule.sources[pair.b];
    const bool vectors = tap.layer >= 0 && a.rows.size() != 0 && b.rows.size() != 0;
    if (vectors && a.rows.row(0).size() != b.rows.row(0).size())
      fail("{} and {} cannot be compared: {} has {} numbers in the first and {} in the second",
           experiment.members[a.member].id, experiment.members[b.member].id, label_of(tap), a.rows.row(0).size(),
           b.rows.row(0).size());
    *work[w].second = rows_of_prompt(tap, a.rows, b.rows, pair.before,
                                     a.representable && b.representable ? dtype : DType::float32, a.prompt);
  };
  parallel_for(work.size(), compare_rows, threads);
  std::vector<TapDistance> whole(found.size());
  parallel_for(
      found.size(), [&](std::size_t c) { whole[c] = over_prompts(found[c]); }, threads);
  for (std::size_t c = 0; c < whole.size(); ++c)
    if (!whole[c].rows.empty()) analysis.comparisons[c].taps.push_back(std::move(whole[c]));
}

inline void note_rows(const JoinedExperiment& experiment, const Schedule& schedule, Analysis& analysis, const Tap& tap,
                      DType dtype) {
  for (const Source& source : schedule.sources) {
    const std::string id = evidence::beside_prompt(
        experiment.members[source.member].id, analysis.prompts[source.prompt].number, analysis.prompts.size());
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

/// Bit-exactness from stored repetitions, where there are no digests: of every prompt, or where one is not equal.
inline void add_stored_reproducibility(Analysis& analysis) {
  for (const Comparison& comparison : analysis.comparisons) {
    if (comparison.kind != PairKind::repetition) continue;
    Reproducibility& found = analysis.configurations[comparison.a].reproducibility;
    if (found.basis == Reproducibility::Basis::digests) continue;
    const TapDistance* differs = comparison.first_difference();
    const bool equal = differs == nullptr && comparison.first_divergence() == nullptr;
    if (equal && comparison.prompts.size() < analysis.prompts.size()) continue;
    if (found.basis == Reproducibility::Basis::none) found.bit_exact = true;
    found.basis = Reproducibility::Basis::vectors;
    if (!equal) found.bit_exact = false;
    if (differs != nullptr && found.first_difference.empty())
      found.first_difference = fmt::format(
          "{}, {}", step_text(analysis.prompts, *differs->first_difference, differs->first_difference_prompt),
          label_of(differs->tap));
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
  for (const Comparison& comparison : analysis.comparisons) note_tokens(analysis, comparison);
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
  add_verdicts(out, options.threads);
  add_timing(out);
  return out;
}

}  // namespace fpf::compare
