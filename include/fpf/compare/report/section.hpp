// One experiment's part of a report.
#pragma once

#include <algorithm>
#include <fpf/compare/output/cells.hpp>
#include <fpf/compare/report/distribution.hpp>
#include <fpf/compare/report/growth.hpp>
#include <fpf/compare/report/heat_map.hpp>
#include <fpf/compare/report/html.hpp>
#include <fpf/compare/report/summary.hpp>
#include <fpf/compare/report/timing.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare::report {

namespace detail {

inline std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

inline NamedMatrix named(const Analysis& analysis, const DistanceMatrix& matrix) {
  NamedMatrix out{words_for(matrix.tap), fmt::format("largest {} of a row", deciding_title), {}, matrix.max};
  for (const Configuration& configuration : analysis.configurations) out.labels.push_back(configuration.id);
  return out;
}

inline Panel signal_panel(const Analysis& analysis, const std::vector<Series>& series, const Tap& tap) {
  Panel out;
  out.heading = capitalised(words_for(tap));
  for (const DistanceMatrix& matrix : analysis.matrices)
    if (matrix.tap == tap) out.figures.push_back(heat_map(named(analysis, matrix)));
  for (const Scope scope : {Scope::within_hardware, Scope::across_hardware}) {
    std::vector<const Verdict*> verdicts;
    for (const Verdict& verdict : analysis.verdicts)
      if (verdict.tap == tap && verdict.scope == scope) verdicts.push_back(&verdict);
    if (!verdicts.empty()) out.figures.push_back(distribution_figure(analysis, verdicts));
  }
  if (analysis.verdicts.empty()) {
    Figure none;
    none.name = "noise_signal";
    none.title = "Noise against signal";
    none.sentence = "No value varies: there is noise, and no signal to hold against it.";
    out.figures.push_back(std::move(none));
  }
  out.figures.push_back(by_step_figure(analysis, series, tap));
  if (tap.layer >= 0) {
    out.figures.push_back(by_layer_figure(series, tap.signal, false));
    Figure relative = by_layer_figure(series, tap.signal, true);
    if (!relative.script.empty()) out.figures.push_back(std::move(relative));
  }
  if (tap.signal.view != View::aligned) out.figures.push_back(ulp_figure(series, tap));
  return out;
}

}  // namespace detail

/// All figures of an experiment, their names complete, not yet drawn.
inline std::vector<Panel> panels_of(std::size_t experiment, const Analysis& analysis) {
  const std::vector<Series> series = series_of(analysis);
  const std::string stem = fmt::format("{}-{}", experiment + 1, file_stem(analysis.experiment_type));
  std::vector<Panel> out;
  for (const Tap& tap : shown_taps(analysis)) {
    if (analysis.comparisons.empty()) break;
    out.push_back(detail::signal_panel(analysis, series, tap));
  }
  out.push_back({"Timing", {timing_figure(analysis)}});
  for (std::size_t p = 0; p < out.size(); ++p)
    for (Figure& figure : out[p].figures) {
      const std::string from = figure.name;
      figure.name = p + 1 == out.size() ? fmt::format("{}-{}", stem, from)
                                        : fmt::format("{}-{}-{}", stem, name_of(shown_taps(analysis)[p].signal), from);
    }
  return out;
}

namespace detail {

inline std::string facts_html(const Analysis& analysis) {
  std::string out = "<dl class=\"facts\">\n";
  const auto fact = [&](std::string_view name, std::string_view value) {
    out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, html_escaped(value));
  };
  fact("variable", analysis.variable);
  fact("model", analysis.model);
  fact("hardware", fmt::format("{}", fmt::join(analysis.hardware, ", ")));
  if (analysis.baseline_value) fact("baseline", *analysis.baseline_value);
  fact(analysis.files.size() == 1 ? "file" : "files", fmt::format("{}", fmt::join(analysis.files, ", ")));
  fact("written", analysis.created.empty() ? not_recorded : fmt::format("{}", fmt::join(analysis.created, ", ")));
  fact(analysis.prompts.size() == 1 ? "prompt" : "prompts", prompt_text(analysis.prompts));
  if (!analysis.not_checked.empty()) fact("not checked", trusted_names(analysis.not_checked));
  return out + "</dl>\n";
}

inline std::string optional_number(const std::optional<double>& value) {
  return value ? number_text(*value) : std::string();
}

inline std::string verdicts_html(std::size_t experiment, const Analysis& analysis) {
  if (analysis.verdicts.empty()) return "";
  const auto taps = shown_taps(analysis);
  Grid grid{{"change", "where", "signal", "verdict", ">ratio", ">p", ">AUC", ">95 % interval", ">pAUC 1 %",
             ">Hedges' g", ">Cliff's delta", ">needed"},
            {}};
  std::string rests = "<ul class=\"rests\">\n";
  for (const Verdict& v : analysis.verdicts) {
    if (std::ranges::find(taps, v.tap) == taps.end()) continue;
    const std::string change = change_text(analysis, v.value, in_text);
    grid.rows.push_back({change, std::string(name_of(v.scope)), words_for(v.tap),
                         fmt::format("{} {}", look_of(v.outcome()).second, headline_of(v)),
                         v.ratio ? number_text(*v.ratio) + "×" : "", v.test ? number_text(v.test->p_value) : "",
                         optional_number(v.auc),
                         v.auc_low ? fmt::format("{:.3f} – {:.3f}", *v.auc_low, *v.auc_high) : "",
                         optional_number(v.partial_auc), optional_number(v.hedges_g), optional_number(v.cliffs_delta),
                         v.needed_units ? compare::detail::needed_text(v) : ""});
    rests += fmt::format("<li>{}, {}, {}: {}.</li>\n", html_escaped(change), name_of(v.scope), words_for(v.tap),
                         html_escaped(v.text));
  }
  std::string out =
      heading_html(section_id(experiment) + "-verdicts", "Verdicts") + table_html(grid, "Verdicts", "cards");
  if (grid.rows.size() < analysis.verdicts.size())
    out += fmt::format("<p class=\"soft\">At the last layer of each signal; verdicts.csv has all {}.</p>\n",
                       analysis.verdicts.size());
  return out + details_html("What each verdict rests on", rests + "</ul>\n", grid.rows.size() <= 4);
}

inline std::string bit_exact_text(const Reproducibility& found) {
  if (found.repeats() == Repeats::unknown) return std::string(name_of(Repeats::unknown));
  std::string out =
      fmt::format("{}, {} by {}", name_of(found.repeats()),
                  count_text(static_cast<std::size_t>(found.repetitions), "repetition"), name_of(found.basis));
  return found.first_difference.empty() ? out : out + "; first at " + found.first_difference;
}

inline std::string configurations_html(std::size_t experiment, const Analysis& analysis) {
  Grid grid{
      {"configuration", "hardware", "value", ">steps", "bit-exact", ">mean, s", "machine", "provider", "versions"}, {}};
  for (std::size_t i = 0; i < analysis.configurations.size(); ++i) {
    const Configuration& c = analysis.configurations[i];
    std::vector<std::string> versions;
    if (!c.fpf.empty()) versions.push_back("fpf " + c.fpf);
    for (const auto& [name, version] : c.versions)
      versions.push_back(name.substr(0, name.rfind("_version")) + " " + version);
    grid.rows.push_back({fmt::format("{}: {}", i + 1, c.id), c.hardware, c.value + (c.baseline ? " (baseline)" : ""),
                         std::to_string(c.decode_steps), bit_exact_text(c.reproducibility),
                         c.timing.seconds.empty() ? "" : number_text(c.timing.mean), c.machine, c.provider,
                         fmt::format("{}", fmt::join(versions, ", "))});
  }
  return heading_html(section_id(experiment) + "-configurations", "Configurations") +
         table_html(grid, "Configurations", "cards prose");
}

inline std::string comparisons_html(const Analysis& analysis) {
  const auto taps = shown_taps(analysis);
  const auto shown = shown_statistics(&Shown::in_report);
  Grid grid{{"compared", "kind", "signal", ">rows"}, {}};
  for (const auto& [m, s] : shown) grid.header.push_back(">" + std::string(metrics[m].statistics[s].in_report));
  grid.header.emplace_back("differs from");
  for (const Comparison& c : analysis.comparisons)
    for (const TapDistance& t : c.taps) {
      if (std::ranges::find(taps, t.tap) == taps.end()) continue;
      std::string pair = fmt::format("{} – {}", c.a + 1, c.b + 1), kind(name_of(c.kind));
      std::ranges::replace(kind, '_', ' ');
      if (c.kind == PairKind::repetition)
        pair = fmt::format("{}, repetitions {} – {}", c.a + 1, c.repetition_a, c.repetition_b);
      std::vector<std::string> row{pair, kind, words_for(t.tap), std::to_string(t.rows.size())};
      for (const StatisticPlace& place : shown) {
        const Metric& metric = metrics[place.metric];
        row.push_back(metric.is_of(t.tap.signal) ? metric_text(metric.form, t[place]) : "");
      }
      row.push_back(t.first_difference ? step_text(analysis.prompts, *t.first_difference, t.first_difference_prompt)
                                       : "equal");
      grid.rows.push_back(std::move(row));
    }
  if (grid.rows.empty()) return "";
  return details_html(fmt::format("All {} by numbers of the configurations", count_text(grid.rows.size(), "distance")),
                      table_html(grid, "Distances"), false);
}

}  // namespace detail

inline std::string section_html(std::size_t experiment, const Analysis& analysis, const std::vector<Panel>& panels) {
  std::string out =
      fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n", section_id(experiment), html_escaped(analysis.experiment_type));
  out += detail::facts_html(analysis) + detail::verdicts_html(experiment, analysis) +
         detail::configurations_html(experiment, analysis);
  out += heading_html(section_id(experiment) + "-figures", "Figures");
  if (analysis.comparisons.empty())
    out += "<p>Nothing to compare: a second configuration or a second stored repetition is needed.</p>\n";
  for (const Panel& panel : panels) out += panel_html(panel);
  const std::string comparisons = detail::comparisons_html(analysis);
  if (!comparisons.empty())
    out += "<div class=\"screen\">" + heading_html(section_id(experiment) + "-distances", "Distances") + comparisons +
           "</div>\n";  // comparisons.csv on paper
  if (!analysis.notes.empty()) {
    out += heading_html(section_id(experiment) + "-notes", "Notes") + "<ul>\n";
    for (const std::string& note : analysis.notes) out += fmt::format("<li>{}.</li>\n", html_escaped(note));
    out += "</ul>\n";
  }
  return out + "<p class=\"soft screen\"><a href=\"#contents\">Contents</a></p>\n</section>\n";
}

}  // namespace fpf::compare::report
