// The first thing that a report says: one line a change, a verdict for every signal.
#pragma once

#include <algorithm>
#include <fpf/compare/report/html.hpp>
#include <fpf/compare/report/series.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare::report {

/// An outcome as a class of the style sheet and a sign that needs no colour.
inline std::pair<const char*, const char*> look_of(Outcome outcome) {
  if (outcome == Outcome::cannot_tell) return {"unknown", "?"};
  return outcome == Outcome::detectable ? std::pair{"told", "●"} : std::pair{"not", "○"};
}

/// A word's row in the glossary (glossary.hpp).
inline std::string word_id(Reason reason) { return fmt::format("verdict-{}", id_of(reason)); }
inline std::string word_id(CaveatKind kind) { return fmt::format("caveat-{}", static_cast<int>(kind)); }

inline std::string chip_html(const Verdict& verdict) {
  const auto [name, sign] = look_of(verdict.outcome());
  const std::string_view outcome = name_of(verdict.outcome());
  std::string out =
      fmt::format("<a class=\"chip {}\" href=\"#{}\" title=\"{}\">{} {}</a><span class=\"soft\">{}</span>", name,
                  word_id(verdict.reason), html_escaped(info(verdict.reason).words.meaning), sign, outcome,
                  html_escaped(std::string_view(verdict.answer).substr(outcome.size())));
  for (const Caveat& caveat : verdict.caveats)
    out += fmt::format("<div class=\"caveat\"><a href=\"#{}\">{}</a></div>", word_id(caveat.kind),
                       html_escaped(caveat.text()));
  return out;
}

/// The address of an experiment's section.
inline std::string section_id(std::size_t experiment) { return fmt::format("experiment-{}", experiment + 1); }

namespace detail {

inline std::vector<Signal> signals_of(const std::vector<Analysis>& analyses) {
  std::set<Signal> found;
  for (const Analysis& analysis : analyses)
    for (const Tap& tap : analysis.taps) found.insert(tap.signal);
  return {found.begin(), found.end()};
}

inline std::string summary_row(std::size_t experiment, const Analysis& analysis, const std::vector<Signal>& signals,
                               std::string_view change, std::string_view where, const std::vector<std::string>& cells) {
  std::string out = fmt::format("<tr><td class=\"lead\" data-label=\"experiment\"><a href=\"#{}\">{}</a></td>",
                                section_id(experiment), html_escaped(analysis.experiment_type));
  out += fmt::format("<td data-label=\"change\">{}</td><td data-label=\"where\"{}>{}</td>", html_escaped(change),
                     where.empty() ? " class=\"empty\"" : "", html_escaped(where));
  for (std::size_t i = 0; i < cells.size(); ++i)
    out += fmt::format("<td data-label=\"{}\"{}><span>{}</span></td>", words_for(signals[i]),
                       cells[i].empty() ? " class=\"empty\"" : "", cells[i]);
  return out + "</tr>\n";
}

inline std::string summary_rows(std::size_t experiment, const Analysis& analysis, const std::vector<Signal>& signals) {
  std::string out;
  const auto taps = shown_taps(analysis);
  for (const std::string& value : analysis.baseline_value ? tested_values(analysis) : std::vector<std::string>{})
    for (const Scope scope : {Scope::within_hardware, Scope::across_hardware}) {
      std::vector<std::string> cells(signals.size());
      for (const Tap& tap : taps)
        if (const Verdict* verdict = analysis.find_verdict(tap, scope, value))
          cells[static_cast<std::size_t>(std::ranges::find(signals, tap.signal) - signals.begin())] =
              chip_html(*verdict);
      if (std::ranges::all_of(cells, &std::string::empty)) continue;
      out += summary_row(experiment, analysis, signals, change_text(analysis, value, in_text), name_of(scope), cells);
    }
  if (!out.empty()) return out;
  std::vector<std::string> cells(signals.size());  // noise alone: how large it gets
  for (const Tap& tap : taps) {
    double largest = -1;
    for (const Comparison& comparison : analysis.comparisons)
      if (const TapDistance* found = comparison.find(tap)) largest = std::max(largest, (*found)[deciding_max]);
    const std::string text = largest < 0    ? "nothing to compare"
                             : largest == 0 ? "noise 0"
                                            : "noise up to " + number_text(largest);
    cells[static_cast<std::size_t>(std::ranges::find(signals, tap.signal) - signals.begin())] =
        fmt::format("<span class=\"soft\">{}</span>", text);
  }
  return summary_row(experiment, analysis, signals, "none", "", cells);
}

/// Changes that are told from noise by at least one signal.
inline std::pair<std::size_t, std::size_t> told_changes(const std::vector<Analysis>& analyses) {
  std::set<std::pair<std::size_t, std::string>> all, told;
  for (std::size_t e = 0; e < analyses.size(); ++e) {
    const auto taps = shown_taps(analyses[e]);
    for (const Verdict& verdict : analyses[e].verdicts) {
      if (std::ranges::find(taps, verdict.tap) == taps.end()) continue;
      all.insert({e, verdict.value});
      if (verdict.outcome() == Outcome::detectable) told.insert({e, verdict.value});
    }
  }
  return {told.size(), all.size()};
}

inline std::string repeats_text(const std::vector<Analysis>& analyses) {
  std::size_t exact = 0, differing = 0, unknown = 0;
  for (const Analysis& analysis : analyses)
    for (const Configuration& configuration : analysis.configurations) {
      const Reproducibility& found = configuration.reproducibility;
      ++(found.basis == Reproducibility::Basis::none ? unknown : found.bit_exact ? exact : differing);
    }
  std::string out = fmt::format("Of {}, {} repeat{} bit for bit",
                                count_text(exact + differing + unknown, "configuration"), exact, exact == 1 ? "s" : "");
  if (differing != 0) out += fmt::format(", {} {} not", differing, differing == 1 ? "does" : "do");
  if (unknown != 0) out += fmt::format(", {} ran once, or the files do not say", unknown);
  return out + ".";
}

}  // namespace detail

inline std::string summary_html(const std::vector<Analysis>& analyses) {
  const auto signals = detail::signals_of(analyses);
  const auto [told, all] = detail::told_changes(analyses);
  std::string out = "<h2 id=\"summary\">Summary</h2>\n<p>";
  if (all == 0)
    out += "No value varies in these experiments: they show noise alone. ";
  else
    out += fmt::format("{} of {} {} detectable in at least one signal. ", told, count_text(all, "change"),
                       told == 1 ? "is" : "are");
  out += detail::repeats_text(analyses) + "</p>\n";
  out +=
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Summary\"><table "
      "class=\"cards\">\n<thead><tr>";
  for (const char* name : {"experiment", "change", "where"}) out += fmt::format("<th scope=\"col\">{}</th>", name);
  for (const Signal signal : signals) out += fmt::format("<th scope=\"col\">{}</th>", words_for(signal));
  out += "</tr></thead>\n<tbody>\n";
  for (std::size_t e = 0; e < analyses.size(); ++e) out += detail::summary_rows(e, analyses[e], signals);
  out += "</tbody></table></div>\n";
  return out +
         "<p class=\"soft\">Does the change show? ● detectable, ○ not detectable, ? cannot tell; x is the largest rows' "
         "distance over that of noise, p the chance of as much without a change. Signals with layers: at the last layer. "
         "Every word leads to its explanation.</p>\n";
}

}  // namespace fpf::compare::report
