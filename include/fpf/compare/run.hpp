// One comparison as it was asked for: files collected, experiments analysed, results as JSON and text.
#pragma once

#include <filesystem>
#include <fpf/compare/analyse.hpp>
#include <fpf/compare/collect.hpp>
#include <fpf/compare/options.hpp>
#include <fpf/compare/output/result_json.hpp>
#include <fpf/compare/output/text.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/plan/published.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/version.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare {

/// What came out; `json` is null when nothing could be analysed.
struct Result {
  Json json;
  std::string text;  // tables for the terminal
  std::vector<Failure> failures;
  std::vector<Analysis> analyses;               // of the default analysis
  std::optional<published::Findings> findings;  // of published measurements
};

namespace detail {

inline Collection collect(const Settings& settings) {
  if (!settings.all) return collect_files({settings.files.begin(), settings.files.end()});
  std::vector<std::filesystem::path> folders(settings.folders.begin(), settings.folders.end());
  if (folders.empty()) folders.emplace_back(".");
  return collect_folders(folders, settings.plan_compatible);
}

/// What folders lack, as a section; nothing where they lack nothing.
inline std::string missing_text(const std::vector<Missing>& all, const Terminal& terminal) {
  if (all.empty()) return "";
  std::string out = heading("Missing", terminal), everywhere;
  for (const Missing& one : all)
    if (one.everywhere)
      everywhere += (everywhere.empty() ? "" : ", ") + one.file;
    else
      out += wrapped(fmt::format("{} is not in {}.", one.file, fmt::join(one.folders, ", ")), terminal.width, "  ");
  if (everywhere.empty()) return out;
  return out + wrapped(fmt::format("Of the plan's experiments there is no {}.", everywhere), terminal.width, "  ");
}

/// Calls analyse(experiment) for each; what one throws is noted and the others go on.
template <class Analyse>
void for_each_experiment(std::vector<JoinedExperiment>& experiments, std::vector<Failure>& failures, Analyse analyse) {
  for (JoinedExperiment& experiment : experiments) {
    check_interrupt();
    try {
      analyse(experiment);
    } catch (const Error& error) {
      failures.push_back({experiment.files.front().name(), error.what()});
    }
    experiment = {};  // closes its files
  }
}

inline Result run_plan(const Settings& settings, const Terminal& terminal) {
  auto collection = collect(settings);
  Result out;
  out.failures = std::move(collection.failures);
  std::vector<Json> reports;
  for_each_experiment(collection.experiments, out.failures, [&](const JoinedExperiment& experiment) {
    if (experiment.prompts.size() > 1)
      fail("{} has runs of {} prompts: --plan-compatible knows one (compare without it, or name files of one prompt)",
           experiment.files.front().name(), experiment.prompts.size());
    reports.push_back(plan::analyse(experiment, signals_of(settings.signal).front(), settings.threshold));
  });
  if (reports.empty()) return out;
  const Json summary = plan::summary(reports);
  out.text = to_text(summary, terminal) + missing_text(collection.missing, terminal);
  if (settings.all || reports.size() > 1)
    out.json = {{"summary", summary}, {"detailed_reports", reports}};
  else
    out.json = reports.front();
  return out;
}

inline Result run_default(const Settings& settings, const Terminal& terminal) {
  const AnalysisOptions options = options_of(settings);
  auto collection = collect(settings);
  Result out;
  out.failures = std::move(collection.failures);
  auto& analyses = out.analyses;
  for_each_experiment(collection.experiments, out.failures, [&](const JoinedExperiment& experiment) {
    analyses.push_back(analyse(experiment, options));
    out.text += (out.text.empty() ? "" : "\n") + to_text(analyses.back(), terminal);
  });
  if (analyses.empty()) return out;
  if (analyses.size() > 1) out.text += summary_text(analyses, terminal);
  out.text += missing_text(collection.missing, terminal);
  out.json = {{"fpf_version", version}, {"analyses", Json::array()}, {"failures", Json::array()}};
  for (const auto& analysis : analyses) out.json["analyses"].push_back(to_json(analysis));
  for (const auto& failure : out.failures)
    out.json["failures"].push_back({{"subject", failure.subject}, {"message", failure.message}});
  out.json["missing"] = Json::array();
  for (const auto& one : collection.missing)
    out.json["missing"].push_back({{"file", one.file}, {"folders", one.folders}});
  return out;
}

inline Result run_published(const Settings& settings, const Terminal& terminal) {
  std::vector<published::File> files;
  Result out;
  for (const std::string& path : settings.published) {
    check_interrupt();
    try {
      files.push_back(published::open(path));
    } catch (const Error& error) {
      out.failures.push_back({path, error.what()});
    }
  }
  if (files.empty()) return out;
  out.findings = published::analyse(files);
  out.text = to_text(*out.findings, terminal);
  out.json = to_json(*out.findings);
  return out;
}

}  // namespace detail

/// Does what validated settings ask for. A file or an experiment that cannot be used is among the failures
/// and spoils no other. Throws Error when the options do not fit the files or --all finds none, and
/// Interrupted.
inline Result run(const Settings& settings, const Terminal& terminal) {
  if (!settings.published.empty()) return detail::run_published(settings, terminal);
  return settings.plan_compatible ? detail::run_plan(settings, terminal) : detail::run_default(settings, terminal);
}

}  // namespace fpf::compare
