// Analyses as JSON: everything that analysis.hpp holds, in lists of objects.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/machine_code.hpp>
#include <fpf/compare/plan/published.hpp>
#include <fpf/compare/verdict_text.hpp>
#include <fpf/core/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf::compare {

namespace detail {

template <class T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

inline Json tap_json(const Tap& tap) {
  return {{"signal", name_of(tap.signal)}, {"layer", tap.layer < 0 ? Json() : Json(tap.layer)}};
}

inline Json ulp_json(const UlpHistogram& histogram) {
  Json buckets = Json::array();
  for (std::size_t k = 0; k < histogram.counts.size(); ++k)
    if (histogram.counts[k] != 0)
      buckets.push_back(
          {{"from", UlpHistogram::lower(k)}, {"to", UlpHistogram::upper(k)}, {"count", histogram.counts[k]}});
  return {{"dtype", histogram.dtype}, {"buckets", buckets}};
}

/// Every metric of the signal as `value_of(its place)`, into `out`.
template <class ValueOf>
void add_metrics(Json& out, const std::vector<std::size_t>& places, Signal signal, const ValueOf& value_of) {
  for (const std::size_t m : places)
    if (metrics[m].is_of(signal)) out[std::string(metrics[m].name)] = value_of(m);
}

/// prompt_index where files state it.
inline Json prompt_number(const Analysis& analysis, std::size_t prompt) { return analysis.prompts[prompt].number; }

inline Json rows_json(const Analysis& analysis, const TapDistance& tap) {
  Json out = Json::object();
  if (analysis.prompts.size() > 1) {
    out["prompt"] = Json::array();
    for (const RowDistance& row : tap.rows) out["prompt"].push_back(prompt_number(analysis, row.prompt));
  }
  out["step"] = Json::array();
  for (const RowDistance& row : tap.rows) out["step"].push_back(row.step);
  const auto values = [&](std::size_t m) {
    Json all = Json::array();
    for (const RowDistance& row : tap.rows) all.push_back(row[m]);
    return all;
  };
  add_metrics(out, metrics_of_all(), tap.tap.signal, values);
  out["elements"] = Json::array();
  for (const RowDistance& row : tap.rows) out["elements"].push_back(row.elements);
  add_metrics(out, metrics_of_some(), tap.tap.signal, values);
  return out;
}

inline Json tap_distance_json(const Analysis& analysis, const TapDistance& tap) {
  const auto statistics = [&](std::size_t m) {
    const ShownStatistics& all = metrics[m].statistics;
    if (all.size() == 1) return Json(tap[{m, 0}]);
    Json object;
    for (std::size_t s = 0; s < all.size(); ++s) object[std::string(all[s].statistic.name)] = tap[{m, s}];
    return object;
  };
  Json out = tap_json(tap.tap);
  out["rows"] = tap.rows.size();
  add_metrics(out, metrics_of_all(), tap.tap.signal, statistics);
  out["first_differing_step"] = optional_json(tap.first_difference);
  out["first_differing_prompt"] = tap.first_difference ? prompt_number(analysis, tap.first_difference_prompt) : Json();
  const bool aligned = tap.tap.signal.view == View::aligned;
  if (aligned) out["common_ids"] = tap.mean_elements;
  add_metrics(out, metrics_of_some(), tap.tap.signal, statistics);
  if (!aligned) out["ulp"] = ulp_json(tap.ulp);
  out["by_row"] = rows_json(analysis, tap);
  return out;
}

/// Of each prompt where tokens were given: steps at which the runs would have chosen differently.
inline Json prompt_steps_json(const Analysis& analysis, const PromptSteps& one) {
  return {{"prompt", prompt_number(analysis, one.prompt)},
          {"steps_compared", one.steps_compared},
          {"first_divergent_step", optional_json(one.first_divergent_step)},
          {"choices", one.choices},
          {"other_choices", one.other_choices},
          {"first_other_choice", optional_json(one.first_other_choice)}};
}

inline Json comparison_json(const Analysis& analysis, const Comparison& comparison) {
  Json taps = Json::array();
  for (const TapDistance& tap : comparison.taps) taps.push_back(tap_distance_json(analysis, tap));
  Json first;
  if (const TapDistance* tap = comparison.first_difference()) {
    first = tap_json(tap->tap);
    first["step"] = *tap->first_difference;
    first["prompt"] = prompt_number(analysis, tap->first_difference_prompt);
  }
  Json prompts = Json::array();
  for (const PromptSteps& one : comparison.prompts) prompts.push_back(prompt_steps_json(analysis, one));
  const PromptSteps* divergence = comparison.first_divergence();
  return {{"a", analysis.configurations[comparison.a].id},
          {"b", analysis.configurations[comparison.b].id},
          {"repetitions", {comparison.repetition_a, comparison.repetition_b}},
          {"kind", name_of(comparison.kind)},
          {"against_baseline", comparison.against_baseline},
          {"first_divergent_step", divergence == nullptr ? Json() : Json(*divergence->first_divergent_step)},
          {"first_divergent_prompt", divergence == nullptr ? Json() : prompt_number(analysis, divergence->prompt)},
          {"steps_compared", comparison.steps_compared()},
          {"prompts", prompts},
          {"also_differs", comparison.also_differs},
          {"first_difference", first},
          {"signals", taps}};
}

inline Json configuration_json(const Configuration& configuration) {
  const Reproducibility& reproducibility = configuration.reproducibility;
  const Timing& timing = configuration.timing;
  Json versions = Json::object();
  for (const auto& [name, version] : configuration.versions) versions[name] = version;
  const bool known = reproducibility.basis != Reproducibility::Basis::none;
  return {{"config_id", configuration.id},
          {"hardware", configuration.hardware},
          {"provider", configuration.provider},
          {"value", configuration.value},
          {"baseline", configuration.baseline},
          {"file", configuration.file},
          {"device", configuration.device},
          {"machine", configuration.machine},
          {"fpf", configuration.fpf},
          {"versions", versions},
          {"stored_repetitions", configuration.stored_repetitions},
          {"decode_steps", configuration.decode_steps},
          {"status", configuration.status.empty() ? "complete" : configuration.status},
          {"reproducibility",
           {{"basis", name_of(reproducibility.basis)},
            {"repetitions", reproducibility.repetitions},
            {"bit_exact", known ? Json(reproducibility.bit_exact) : Json()},
            {"first_difference",
             reproducibility.first_difference.empty() ? Json() : Json(reproducibility.first_difference)}}},
          {"runtime",
           {{"seconds", timing.seconds},
            {"mean", timing.mean},
            {"variance", timing.variance},
            {"prefill_seconds", optional_json(timing.prefill_seconds)},
            {"decode_seconds", optional_json(timing.decode_seconds)}}}};
}

inline Json prompt_json(const Prompt& prompt) {
  return {{"prompt", prompt.number}, {"sha256", prompt.sha256}, {"tokens", prompt.tokens}, {"words", prompt.words}};
}

inline Json verdict_json(const Verdict& verdict) {
  const auto& test = verdict.test;
  Json out = tap_json(verdict.tap);
  out.update(Json{{"scope", name_of(verdict.scope)},
                  {"baseline_value", verdict.baseline_value},
                  {"value", verdict.value},
                  {"outcome", id_of(verdict.outcome())},
                  {"reason", id_of(verdict.reason)},
                  {"answer", verdict.answer},
                  {"text", verdict.text},
                  {"caveats", texts_of(verdict.caveats)},
                  {"threshold", verdict.threshold},
                  {"noise_floor", verdict.noise_floor},
                  {"signal_level", verdict.signal_level},
                  {"ratio", optional_json(verdict.ratio)},
                  {"signal_levels", verdict.signal_levels},
                  {"levels_reached", verdict.levels_reached},
                  {"signal_comparisons", verdict.signal_comparisons},
                  {"noise_comparisons", verdict.noise_comparisons},
                  {"noise_from_digests", verdict.noise_from_digests},
                  {"noise_between", noise_between(verdict)},
                  {"signal_rows", verdict.signal.size()},
                  {"noise_rows", verdict.noise.size()},
                  {"unit", name_of(verdict.unit)},
                  {"prompts", verdict.prompts},
                  {"signal_units", verdict.signal_units},
                  {"noise_units", verdict.noise_units},
                  {"paired_units", test ? Json(test->paired) : Json()},
                  {"p_value", test ? Json(test->p_value) : Json()},
                  {"smallest_p_value", test ? Json(test->smallest_p) : Json()},
                  {"arrangements", test ? Json(test->arrangements) : Json()},
                  {"exhaustive", test ? Json(test->exhaustive) : Json()},
                  {"false_positive_rate", false_positive_rate},
                  {"auc", optional_json(verdict.auc)},
                  {"auc_interval", verdict.auc_low ? Json{*verdict.auc_low, *verdict.auc_high} : Json()},
                  {"partial_auc_fpr_0.01", optional_json(verdict.partial_auc)},
                  {"hedges_g", optional_json(verdict.hedges_g)},
                  {"cliffs_delta", optional_json(verdict.cliffs_delta)},
                  {"needed_units", optional_json(verdict.needed_units)},
                  {"needed_tokens", optional_json(verdict.needed_tokens)}});
  return out;
}

inline Json matrix_json(const Analysis& analysis, const DistanceMatrix& matrix) {
  const auto square = [&](const std::vector<double>& values) {
    Json rows = Json::array();
    for (std::size_t i = 0; i < matrix.size; ++i) {
      Json row = Json::array();
      for (std::size_t j = 0; j < matrix.size; ++j) {
        const double value = values[i * matrix.size + j];
        row.push_back(std::isnan(value) ? Json() : Json(value));
      }
      rows.push_back(row);
    }
    return rows;
  };
  Json ids = Json::array();
  for (const Configuration& configuration : analysis.configurations) ids.push_back(configuration.id);
  Json out = tap_json(matrix.tap);
  out["configurations"] = ids;
  out[fmt::format("max_{}", metrics[deciding].name)] = square(matrix.max);
  out[fmt::format("mean_{}", metrics[deciding].name)] = square(matrix.mean);
  return out;
}

/// Kernel by kernel, for every pair of configurations whose kernels different compilers made.
inline Json machine_code_json(const Analysis& analysis) {
  Json out = Json::array();
  for (const Comparison& comparison : analysis.comparisons) {
    const Configuration &a = analysis.configurations[comparison.a], &b = analysis.configurations[comparison.b];
    if (comparison.kind == PairKind::repetition || !compilers_differ(a, b)) continue;
    Json kernels = Json::array();
    for (const KernelPair& kernel : common_kernels(a, b))
      kernels.push_back({{"name", kernel.name},
                         {"equal", kernel.equal()},
                         {"code_sha256", {kernel.a.code_sha256, kernel.b.code_sha256}},
                         {"instructions", {kernel.a.instructions, kernel.b.instructions}},
                         {"registers", {kernel.a.registers, kernel.b.registers}}});
    out.push_back({{"a", a.id}, {"b", b.id}, {"kernels", kernels}});
  }
  return out;
}

}  // namespace detail

/// One experiment's analysis as JSON.
inline Json to_json(const Analysis& analysis) {
  Json out = {{"experiment_type", analysis.experiment_type},
              {"variable", analysis.variable},
              {"model", analysis.model},
              {"files", analysis.files},
              {"created", analysis.created},
              {"prompts", Json::array()},
              {"hardware", analysis.hardware},
              {"baseline_value", detail::optional_json(analysis.baseline_value)},
              {"threshold", analysis.threshold},
              {"after_divergence", analysis.after_divergence},
              {"weights_identified", analysis.weights_identified},
              {"conditions_recorded", analysis.conditions_recorded},
              {"not_checked", analysis.not_checked}};
  for (const char* name : {"configurations", "verdicts", "comparisons", "matrices", "timing"})
    out[name] = Json::array();
  for (const auto& entry : analysis.prompts) out["prompts"].push_back(detail::prompt_json(entry));
  for (const auto& entry : analysis.configurations) out["configurations"].push_back(detail::configuration_json(entry));
  for (const auto& entry : analysis.verdicts) out["verdicts"].push_back(detail::verdict_json(entry));
  for (const auto& entry : analysis.comparisons) out["comparisons"].push_back(detail::comparison_json(analysis, entry));
  for (const auto& entry : analysis.matrices) out["matrices"].push_back(detail::matrix_json(analysis, entry));
  for (const auto& entry : analysis.timing)
    out["timing"].push_back({{"a", analysis.configurations[entry.a].id},
                             {"b", analysis.configurations[entry.b].id},
                             {"ratio", entry.ratio},
                             {"t", detail::optional_json(entry.t)},
                             {"p_value", detail::optional_json(entry.p_value)},
                             {"separated", entry.separated},
                             {"text", entry.text}});
  out["machine_code"] = detail::machine_code_json(analysis);
  out["notes"] = analysis.notes;
  return out;
}

/// What published files gave, as JSON.
inline Json to_json(const published::Findings& findings) {
  Json out = {{"files", findings.files},
              {"matrices", Json::array()},
              {"between_files", Json::array()},
              {"repetitions", Json::array()}};
  for (const auto& matrix : findings.matrices)
    out["matrices"].push_back({{"title", matrix.title},
                               {"labels", matrix.labels},
                               {"distances", matrix.distances},
                               {"per_reference", matrix.per_reference},
                               {"mean", matrix.mean},
                               {"classes", matrix.classes},
                               {"deviation_from_file", detail::optional_json(matrix.deviation)}});
  for (const auto& series : findings.series)
    out["between_files"].push_back(
        {{"title", series.title}, {"labels", series.labels}, {"distances", series.distances}});
  for (const auto& [name, equal] : findings.repetitions_equal)
    out["repetitions"].push_back({{"name", name}, {"equal", equal}});
  return out;
}

}  // namespace fpf::compare
