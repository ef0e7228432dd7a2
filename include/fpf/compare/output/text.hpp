// Analyses as text for a terminal.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/output/cells.hpp>
#include <fpf/compare/output/table.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/plan/published.hpp>
#include <fpf/compare/verdict_text.hpp>
#include <fpf/core/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace fpf::compare {

namespace detail {

inline std::string trust_text(const std::vector<std::string>& not_checked) {
  return fmt::format("Not checked: {}. Vectors and manifests are checked against one another; verify re-executes them.",
                     trusted_names(not_checked));
}

/// Prompt, dates, and the fpf that wrote the files.
inline std::string origin_text(const Analysis& analysis) {
  std::set<std::string> writers;
  for (const Configuration& entry : analysis.configurations)
    writers.insert(entry.fpf.empty() ? not_recorded : entry.fpf);
  return fmt::format("{}{}; written {} by fpf {}", analysis.prompts.size() == 1 ? "prompt " : "",
                     prompt_text(analysis.prompts),
                     analysis.created.empty() ? not_recorded : fmt::format("{}", fmt::join(analysis.created, ", ")),
                     fmt::join(writers, " and "));
}

inline Cell bit_exact_cell(const Reproducibility& found) {
  if (found.repeats() == Repeats::unknown) return {std::string(name_of(Repeats::unknown)), Style::faint};
  return {fmt::format("{} ({}, {})", name_of(found.repeats()), found.repetitions, name_of(found.basis)),
          found.bit_exact ? Style::good : Style::bad};
}

inline std::string configurations_text(const Analysis& analysis, const Terminal& terminal) {
  Table table({">#", "configuration", "?hardware", "value", ">steps", "bit-exact", ">seconds", "?>variance"});
  for (std::size_t i = 0; i < analysis.configurations.size(); ++i) {
    const Configuration& entry = analysis.configurations[i];
    const Timing& timing = entry.timing;
    table.add({{std::to_string(i + 1)},
               {entry.id},
               {entry.hardware},
               {entry.value + (entry.baseline ? " (baseline)" : "")},
               {std::to_string(entry.decode_steps)},
               bit_exact_cell(entry.reproducibility),
               {timing.seconds.empty() ? "" : fmt::format("{:.3f}", timing.mean)},
               {timing.seconds.size() < 2 ? "" : short_number(timing.variance)}});
  }
  return heading("Configurations", terminal) + table.render(terminal);
}

/// "1 - 3", or "1, repetitions 0 - 2": the numbers of the configurations' table.
inline std::string pair_text(const Comparison& comparison) {
  if (comparison.kind == PairKind::repetition)
    return fmt::format("{}, repetitions {} - {}", comparison.a + 1, comparison.repetition_a, comparison.repetition_b);
  return fmt::format("{} - {}", comparison.a + 1, comparison.b + 1);
}

inline std::string comparisons_text(const Analysis& analysis, const Terminal& terminal) {
  std::vector<std::string> header{"compared", "kind", "signal", ">rows"};
  append(header, metric_headings(&Shown::in_compare));
  header.emplace_back("?from step");
  Table table(std::move(header));
  for (const Comparison& comparison : analysis.comparisons) {
    std::string kind(name_of(comparison.kind));
    std::ranges::replace(kind, '_', ' ');
    if (comparison.kind == PairKind::repetition) kind = "noise";
    for (const TapDistance& tap : comparison.taps) {
      std::vector<Cell> row{{pair_text(comparison)},
                            {kind, is_noise(comparison.kind) ? Style::faint : Style::plain},
                            {label_of(tap.tap)},
                            {std::to_string(tap.rows.size())}};
      append(row, metric_cells(tap, &Shown::in_compare));
      row.push_back({!tap.first_difference ? "equal"
                     : analysis.prompts.size() == 1
                         ? std::to_string(*tap.first_difference)
                         : step_text(analysis.prompts, *tap.first_difference, tap.first_difference_prompt).substr(5)});
      table.add(std::move(row));
    }
  }
  if (table.empty()) return "";
  std::string out = heading("Distances", terminal) + table.render(terminal);
  for (const Comparison& comparison : analysis.comparisons)
    if (const TapDistance* tap = comparison.first_difference(); tap != nullptr && comparison.taps.size() > 1)
      out += wrapped(fmt::format("{} differ first at {}, {}.", pair_text(comparison),
                                 step_text(analysis.prompts, *tap->first_difference, tap->first_difference_prompt),
                                 label_of(tap->tap)),
                     terminal.width, "  ");
  return out;
}

inline Style style_of(Outcome outcome) {
  if (outcome == Outcome::cannot_tell) return Style::strong;
  return outcome == Outcome::detectable ? Style::good : Style::bad;
}

inline std::string optional_text(const std::optional<double>& value, fmt::string_view format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "";
}

inline std::vector<Cell> verdict_cells(const Verdict& verdict) {
  return {{fmt::format("{} -> {}", verdict.baseline_value, verdict.value)},
          {std::string(name_of(verdict.scope))},
          {label_of(verdict.tap)},
          {headline_of(verdict), style_of(verdict.outcome())},
          {optional_text(verdict.ratio, "{:.2f}x")},
          {optional_text(verdict.auc, "{:.3f}")},
          {optional_text(verdict.partial_auc, "{:.3f}")},
          {optional_text(verdict.hedges_g, "{:.2f}")},
          {verdict.needed_units ? needed_text(verdict) : ""}};
}

inline std::string verdicts_text(const Analysis& analysis, const Terminal& terminal) {
  if (analysis.verdicts.empty()) return "";
  Table table({"change", "where", "signal", "verdict", "?>ratio", "?>AUC", "?>pAUC 1%", "?>Hedges g", "?>needed"});
  for (const Verdict& verdict : analysis.verdicts) table.add(verdict_cells(verdict));
  std::string out = heading("Verdicts", terminal) + table.render(terminal);
  constexpr std::size_t few = 8;
  if (analysis.verdicts.size() > few) return out;
  for (const Verdict& verdict : analysis.verdicts)
    out += wrapped(fmt::format("{} -> {}, {}, {}: {}.", verdict.baseline_value, verdict.value, name_of(verdict.scope),
                               label_of(verdict.tap), verdict.text),
                   terminal.width, "  ");
  return out;
}

inline std::string timing_lines(const Analysis& analysis, const Terminal& terminal) {
  if (analysis.timing.empty()) return "";
  std::string out = heading("Run time", terminal);
  for (const TimingComparison& found : analysis.timing)
    out += wrapped(fmt::format("{} - {}: {}.", analysis.configurations[found.a].id, analysis.configurations[found.b].id,
                               found.text),
                   terminal.width, "  ");
  return out;
}

}  // namespace detail

/// One experiment: configurations, distances, verdicts, run times, notes.
inline std::string to_text(const Analysis& analysis, const Terminal& terminal) {
  std::string out = title(fmt::format("{}: {}", analysis.experiment_type, analysis.variable), terminal);
  out += wrapped(
      fmt::format("{}; {}; {}", analysis.model, fmt::join(analysis.hardware, ", "), fmt::join(analysis.files, ", ")),
      terminal.width);
  out += wrapped(detail::origin_text(analysis), terminal.width);
  out += detail::configurations_text(analysis, terminal);
  out += detail::comparisons_text(analysis, terminal);
  out += detail::verdicts_text(analysis, terminal);
  out += detail::timing_lines(analysis, terminal);
  if (!analysis.notes.empty()) out += heading("Notes", terminal);
  for (const std::string& note : analysis.notes) out += wrapped(note + ".", terminal.width, "  ");
  if (!analysis.not_checked.empty()) out += "\n" + wrapped(detail::trust_text(analysis.not_checked), terminal.width);
  return out;
}

/// All experiments in one table: one line a change and place, at the last layer of each analysis' first
/// signal.
inline std::string summary_text(const std::vector<Analysis>& analyses, const Terminal& terminal) {
  Table table({"experiment", "change", "where", "?signal", "verdict", "?>ratio", "?>AUC", "?>noise floor"});
  for (const Analysis& analysis : analyses) {
    if (analysis.verdicts.empty())
      table.add({{analysis.experiment_type}, {"none"}, {""}, {""}, {"noise only", Style::faint}, {""}, {""}, {""}});
    Tap last = analysis.taps.front();
    for (const Tap& tap : analysis.taps)
      if (tap.signal == last.signal) last = tap;
    for (const Verdict& verdict : analysis.verdicts) {
      if (!(verdict.tap == last)) continue;
      auto cells = detail::verdict_cells(verdict);
      cells.resize(6);
      cells.insert(cells.begin(), {analysis.experiment_type});
      const bool known = !verdict.noise.empty() || verdict.noise_from_digests;
      cells.push_back({known ? short_number(verdict.noise_floor) : ""});
      table.add(std::move(cells));
    }
  }
  return heading("Summary", terminal) + table.render(terminal);
}

/// The plan's summary table.
inline std::string to_text(const Json& summary, const Terminal& terminal) {
  Table table({"Experiment", "Variable", ">Baseline", ">Detectable", "Status"});
  for (const auto& row : summary["experiments"]) {
    const double percentage = row["detectability_pct"].get<double>();
    const Style style = percentage > 75 ? Style::good : percentage > 50 ? Style::strong : Style::bad;
    table.add({{value_text(row["experiment"])},
               {value_text(row["variable"])},
               {short_number(row["baseline"].get<double>())},
               {fmt::format("{:.1f}%", percentage)},
               {row["status"].get<std::string>(), style}});
  }
  return table.render(terminal) + wrapped(plan::sentence, terminal.width);
}

/// Published files: matrices with their means and classes, distances between files, repetitions.
inline std::string to_text(const published::Findings& findings, const Terminal& terminal) {
  std::string out;
  for (const auto& matrix : findings.matrices) {
    std::vector<std::string> header{""};
    for (const auto& label : matrix.labels) header.push_back(">" + label);
    Table table(header);
    for (std::size_t i = 0; i < matrix.labels.size(); ++i) {
      std::vector<Cell> row{{matrix.labels[i], Style::faint}};
      for (const double distance : matrix.distances[i])
        row.push_back({distance == 0 ? "0" : fmt::format("{:.4f}", distance)});
      table.add(std::move(row));
    }
    std::string classes;
    for (const auto& one : matrix.classes) classes += fmt::format("[{}]", fmt::join(one, ","));
    out += heading(matrix.title, terminal) + table.render(terminal);
    out += wrapped(fmt::format("mean {:.6g}; equal to each other: {}{}", matrix.mean, classes,
                               matrix.deviation ? fmt::format("; largest difference from the file's own matrix {:.1e}",
                                                              *matrix.deviation)
                                                : ""),
                   terminal.width);
  }
  for (const auto& series : findings.series) {
    Table table({"", ">L2"});
    for (std::size_t i = 0; i < series.labels.size(); ++i)
      table.add({{series.labels[i]}, {fmt::format("{:.6g}", series.distances[i])}});
    out += heading(series.title, terminal) + table.render(terminal);
  }
  std::size_t unequal = 0;
  for (const auto& [name, equal] : findings.repetitions_equal) unequal += !equal;
  if (!findings.repetitions_equal.empty())
    out += "\n" + wrapped(fmt::format("Repetitions: {} of {} sets are equal bit for bit",
                                      findings.repetitions_equal.size() - unequal, findings.repetitions_equal.size()),
                          terminal.width);
  return out;
}

}  // namespace fpf::compare
