// How a report begins: when it was made, of what, by which fpf on which machines; and what stands where.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/collect.hpp>
#include <fpf/compare/plan/published.hpp>
#include <fpf/compare/report/html.hpp>
#include <fpf/compare/report/summary.hpp>
#include <fpf/core/version.hpp>
#include <fpf/evidence/manifest.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare::report {

/// A place of the page and its name.
struct Link {
  std::string id, name;
};

/// Links to the page's parts, a line a part, what belongs to one behind it.
using Contents = std::vector<std::vector<Link>>;

namespace detail {

/// What several experiments say, each once.
class Said {
 public:
  void add(const std::string& text) {
    if (std::ranges::find(all_, text) == all_.end()) all_.push_back(text);
  }
  /// "machine: A" and, each on a line of its own, what else was said.
  std::string fact(std::string_view one, std::string_view several) const {
    std::string out = fmt::format("<dt>{}</dt>", all_.size() == 1 ? one : several);
    for (const std::string& text : all_) out += "<dd>" + html_escaped(text) + "</dd>";
    return out + "\n";
  }

 private:
  std::vector<std::string> all_;
};

inline std::string made_text() {
  return fmt::format("{} UTC, by fpf compare {}, revision {}", evidence::timestamp(), version, source_revision());
}

inline std::string facts_of(const std::string& more) {
  return fmt::format("<dl class=\"facts\" id=\"origin\">\n<dt>report made</dt><dd>{}</dd>\n{}</dl>\n",
                     html_escaped(made_text()), more);
}

}  // namespace detail

inline std::string head_html(const std::vector<Analysis>& analyses) {
  detail::Said models, prompts, machines, writers;
  std::vector<std::string> dates;
  for (const Analysis& analysis : analyses) {
    models.add(analysis.model);
    prompts.add(prompt_text(analysis.prompts));
    dates.insert(dates.end(), analysis.created.begin(), analysis.created.end());
    for (const Configuration& c : analysis.configurations) {
      machines.add(c.hardware + ": " + (c.machine.empty() ? not_recorded : c.machine));
      writers.add(c.fpf.empty() ? not_recorded : "fpf " + c.fpf);
    }
  }
  const auto [first, last] = std::ranges::minmax_element(dates);
  const std::string written = dates.empty()     ? not_recorded
                              : *first == *last ? *first
                                                : fmt::format("{} to {}", *first, *last);
  return detail::facts_of(fmt::format("<dt>evidence written</dt><dd>{}</dd>\n", html_escaped(written)) +
                          writers.fact("written by", "written by") + models.fact("model", "models") +
                          prompts.fact("prompt", "prompts") + machines.fact("machine", "machines"));
}

inline std::string head_html(const published::Findings& findings) {
  detail::Said files;
  for (const std::string& file : findings.files) files.add(file);
  return detail::facts_of(files.fact("file", "files"));
}

inline std::string contents_html(const Contents& lines) {
  std::string out = "<nav id=\"contents\" aria-label=\"Contents\">\n<h2>Contents</h2>\n<ul>\n";
  for (const auto& line : lines) {
    out += "<li>";
    for (std::size_t i = 0; i < line.size(); ++i)
      out += fmt::format("{}<a href=\"#{}\">{}</a>",
                         i == 0   ? ""
                         : i == 1 ? ": "
                                  : ", ",
                         line[i].id, html_escaped(line[i].name));
    out += "</li>\n";
  }
  return out + "</ul>\n</nav>\n";
}

/// What stands between summary and files: an experiment a line, and the words.
inline Contents links_of(const std::vector<Analysis>& analyses) {
  Contents out(1, {Link{"summary", "Summary"}});
  for (std::size_t e = 0; e < analyses.size(); ++e) {
    const std::string id = section_id(e);
    auto& line = out.emplace_back();
    line.push_back({id, analyses[e].experiment_type});
    if (!analyses[e].verdicts.empty()) line.push_back({id + "-verdicts", "verdicts"});
    line.push_back({id + "-configurations", "configurations"});
    line.push_back({id + "-figures", "figures"});
    if (!analyses[e].notes.empty()) line.push_back({id + "-notes", "notes"});
  }
  out.push_back({Link{"terms", "Terms"}});
  out.push_back({Link{"glossary", "Verdicts in words"}});
  out.push_back({Link{"files", "Files: CSV, figures"}});
  return out;
}

inline Contents links_of(const published::Findings& findings) {
  Contents out(1, {Link{"summary", "Summary"}});
  if (!findings.matrices.empty()) out.push_back({Link{"within-the-files", "Within the files"}});
  if (!findings.series.empty()) out.push_back({Link{"between-the-files", "Between the files"}});
  out.push_back({Link{"files", "Files: CSV, figures"}});
  return out;
}

}  // namespace fpf::compare::report
