// The plan's own analysis (`compare --plan-compatible`): its script's numbers for the same files, to 1e-12.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <fpf/compare/distance.hpp>
#include <fpf/compare/join.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/statistics.hpp>
#include <fpf/core/json.hpp>
#include <fpf/evidence/reader.hpp>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare::plan {

/// What "the plan" is, for readers who have never seen it.
inline constexpr std::string_view sentence =
    "The plan is the written experiment plan behind fpf: a reference run, eight experiments that each change one "
    "condition, and a rule that calls a change detectable when it moves the results at least 1.5 times as far as other "
    "hardware does.";

/// The files that the plan's `--all` looks for, in its order.
inline constexpr std::array<std::string_view, 8> file_names{
    "batch_size_experiment.json",         "compile_experiment.json",
    "quantization_experiment.json",       "attention_experiment.json",
    "concurrent_streams_experiment.json", "tensor_parallel_experiment.json",
    "expert_parallel_experiment.json",    "cuda_version_experiment.json"};

namespace detail {

/// One run's rows of the signal, every (step, position) that is stored, in double.
struct Run {
  std::map<std::pair<std::uint32_t, int>, std::size_t> index;  // (step's index, -3 ... -1) -> row
  evidence::Rows<double> rows;
};

inline Run read(const evidence::ExperimentFile& file, const evidence::StoredRun& run, evidence::StoredSignal signal,
                int layer) {
  Run out{.index = {}, .rows = evidence::read_rows<double>(file, run, signal, layer, evidence::RowRule::every)};
  std::size_t next = 0;
  for (const auto& row : run.rows) {
    if (row.signal != signal || row.layer != layer) continue;
    if (row.back >= -3) out.index.emplace(std::pair(row.step, int{row.back}), next);
    ++next;
  }
  return out;
}

/// The plan's compare_runs(...)["max"]: the largest L2 over the steps and positions that both have, 0 without
/// any.
inline double max_distance(const Run& a, const Run& b) {
  double largest = 0;
  for (const auto& [place, row] : a.index) {
    const auto other = b.index.find(place);
    if (other == b.index.end()) continue;
    const auto x = a.rows.row(row), y = b.rows.row(other->second);
    if (x.size() != y.size())
      fail("the runs' rows at decode_steps[{}], pos_{} have {} and {} numbers: the plan cannot compare them",
           place.first, place.second, x.size(), y.size());
    largest = std::max(largest, l2_distance(x, y));
  }
  return largest;
}

struct Subject {
  const Member* member = nullptr;
  std::vector<Run> runs;       // in the file's order
  const Run* first = nullptr;  // repetition 0 or the lowest; null without runs
};

inline std::vector<Subject> read_all(const JoinedExperiment& experiment, evidence::StoredSignal signal, int layer) {
  std::vector<Subject> subjects;
  std::vector<std::pair<std::size_t, std::size_t>> jobs;
  for (const Member& member : experiment.members) {
    for (std::size_t r = 0; r < member.runs.size(); ++r) jobs.emplace_back(subjects.size(), r);
    subjects.push_back({.member = &member, .runs = std::vector<Run>(member.runs.size())});
  }
  parallel_for(jobs.size(), [&](std::size_t j) {
    const auto [s, r] = jobs[j];
    const Member& member = *subjects[s].member;
    subjects[s].runs[r] = read(experiment.file_of(member), *member.runs[r], signal, layer);
  });
  for (Subject& subject : subjects) {
    const auto& stored = subject.member->runs;
    const auto first = std::ranges::find(stored, subject.member->first_run());
    if (!stored.empty()) subject.first = &subject.runs[static_cast<std::size_t>(first - stored.begin())];
  }
  return subjects;
}

inline std::vector<const Subject*> on(const std::vector<Subject>& subjects, const std::string& hardware) {
  std::vector<const Subject*> found;
  for (const Subject& subject : subjects)
    if (subject.member->hardware == hardware) found.push_back(&subject);
  return found;
}

inline Json reproducibility(const std::vector<Subject>& subjects) {
  Json out = Json::object();
  for (const Subject& subject : subjects) {
    if (subject.runs.size() < 2) continue;
    double largest = 0;
    for (std::size_t i = 0; i < subject.runs.size(); ++i)
      for (std::size_t j = i + 1; j < subject.runs.size(); ++j)
        largest = std::max(largest, max_distance(subject.runs[i], subject.runs[j]));
    out[subject.member->id] = {{"is_exact", largest == 0}, {"max_distance", largest}};
  }
  return out;
}

inline Json baseline(const std::vector<Subject>& subjects, const std::vector<std::string>& hardware) {
  if (hardware.size() < 2) return Json::object();
  Json per_value = Json::object();
  std::vector<double> distances;
  const auto others = on(subjects, hardware[1]);
  for (const Subject* a : on(subjects, hardware[0])) {
    const auto b = std::ranges::find_if(
        others, [&](const Subject* o) { return equal_values(o->member->value, a->member->value); });
    if (b == others.end() || a->first == nullptr || (*b)->first == nullptr) continue;
    distances.push_back(max_distance(*a->first, *(*b)->first));
    per_value[value_text(a->member->value)] = distances.back();
  }
  if (distances.empty()) return Json::object();
  return {{"per_value", per_value},
          {"mean", mean_of(distances)},
          {"std", std::sqrt(variance_of(distances))},
          {"values", distances}};
}

inline Json within_hardware(const std::vector<Subject>& subjects, const std::vector<std::string>& hardware) {
  Json out = Json::object();
  for (const std::string& name : hardware) {
    auto here = on(subjects, name);
    std::ranges::stable_sort(here, [](const Subject* a, const Subject* b) {
      return compare_values(a->member->value, b->member->value) < 0;
    });
    if (here.size() < 2 || here.front()->first == nullptr) continue;
    out[name] = Json::object();
    for (std::size_t i = 1; i < here.size(); ++i)
      if (here[i]->first != nullptr)
        out[name][value_text(here[i]->member->value)] = max_distance(*here.front()->first, *here[i]->first);
  }
  return out;
}

inline Json cross_hardware(const std::vector<Subject>& subjects, const std::vector<std::string>& hardware,
                           const Json& noise, double threshold) {
  if (hardware.size() < 2 || noise.empty() || noise["mean"] == 0.0) return Json::object();
  const double floor = noise["mean"].get<double>();
  std::vector<Json> comparisons;  // one per pair of values: a later pair of configurations replaces an earlier one
  int detectable = 0, total = 0;
  const auto others = on(subjects, hardware[1]);
  for (const Subject* a : on(subjects, hardware[0])) {
    for (const Subject* b : others) {
      const auto &x = a->member->value, &y = b->member->value;
      if (a->first == nullptr || b->first == nullptr || equal_values(x, y)) continue;
      const double distance = max_distance(*a->first, *b->first), ratio = distance / floor;
      Json entry = {{"values", {x, y}},
                    {"hardware", {hardware[0], hardware[1]}},
                    {"distance", distance},
                    {"ratio", ratio},
                    {"detectable", ratio >= threshold}};
      ++total;
      detectable += ratio >= threshold;
      const auto same =
          std::ranges::find_if(comparisons, [&](const Json& c) { return c["values"] == entry["values"]; });
      if (same == comparisons.end())
        comparisons.push_back(std::move(entry));
      else
        *same = std::move(entry);
    }
  }
  return {{"comparisons", comparisons},
          {"detectable_count", detectable},
          {"total_count", total},
          {"percentage", total == 0 ? 0.0 : 100.0 * detectable / total}};
}

}  // namespace detail

/// The layer the plan's script looks at: its `layer_39` if the experiment has it, else the last. -1 without
/// layers.
inline int layer_of(const JoinedExperiment& experiment, evidence::StoredSignal signal) {
  if (!evidence::info(signal).per_layer) return -1;
  const auto layers = experiment.layers(signal);
  if (layers.empty()) return -1;
  return std::ranges::find(layers, 39) != layers.end() ? 39 : layers.back();
}

/// The plan's analyze_experiment: reproducibility, baseline, within-hardware and cross-hardware distances.
inline Json analyse(const JoinedExperiment& experiment, evidence::StoredSignal signal, double threshold = 1.5) {
  const auto subjects = detail::read_all(experiment, signal, layer_of(experiment, signal));
  const auto hardware = experiment.hardware();
  Json out = {{"experiment_type", experiment.metadata()["experiment_type"]},
              {"variable", experiment.metadata()["variable_tested"]},
              {"signal_type", evidence::name_of(signal)},
              {"reproducibility", detail::reproducibility(subjects)},
              {"baseline", detail::baseline(subjects, hardware)},
              {"within_hardware", detail::within_hardware(subjects, hardware)}};
  out["cross_hardware"] = detail::cross_hardware(subjects, hardware, out["baseline"], threshold);
  return out;
}

/// The plan's generate_summary_table.
inline Json summary(const std::vector<Json>& reports) {
  Json rows = Json::array();
  for (const Json& report : reports) {
    const Json &noise = report["baseline"], &cross = report["cross_hardware"];
    const double percentage = cross.empty() ? 0.0 : cross["percentage"].get<double>();
    rows.push_back({{"experiment", report["experiment_type"]},
                    {"variable", report["variable"]},
                    {"baseline", noise.empty() ? 0.0 : noise["mean"].get<double>()},
                    {"detectability_pct", percentage},
                    {"status", percentage > 75   ? "✓ Strong"
                               : percentage > 50 ? "~ Moderate"
                                                 : "✗ Weak"}});
  }
  return {{"experiments", rows}};
}

}  // namespace fpf::compare::plan
