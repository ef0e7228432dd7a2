// A report: a folder with a page, its figures as scripts with data, and every number as CSV.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fpf/compare/collect.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/report_csv.hpp>
#include <fpf/compare/report_folder.hpp>
#include <fpf/compare/report_published.hpp>
#include <fpf/compare/report_section.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/interrupt.hpp>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace fpf::compare {

namespace report::detail {

inline void write_text(const std::filesystem::path& path, std::string_view text) {
  AtomicFile(path).append(text).commit();
}

/// Writes a figure's files, draws it where there is a gnuplot, and takes the drawing in.
inline void draw(Figure& figure, const std::filesystem::path& plots, bool gnuplot, const std::string& label) {
  check_interrupt();
  write_text(plots / (figure.name + ".gp"), script_of(figure));
  write_text(plots / (figure.name + ".dat"), figure.data);
  if (!gnuplot) return;
  const ProgramEnd end = run_in(plots, {"gnuplot", "-d", figure.name + ".gp"});
  check_interrupt();  // the signal reaches gnuplot too
  const std::filesystem::path drawing = plots / (figure.name + ".svg");
  if (end.found && end.status == 0) {
    std::ifstream file(drawing, std::ios::binary);
    figure.svg = svg_for_page(std::string(std::istreambuf_iterator<char>(file), {}), figure.name, label);
  }
  if (!figure.svg.empty()) return;
  const std::string output =
      end.output.substr(std::min(end.output.find_first_not_of(" \n"), end.output.size()));
  figure.problem = "gnuplot says " + (output.empty() ? "nothing" : one_line(output, 300));
  std::error_code ignored;
  std::filesystem::remove(drawing, ignored);
}

inline void draw_all(std::vector<std::vector<Panel>>& sections, const std::filesystem::path& plots,
                     bool gnuplot) {
  std::vector<std::pair<Figure*, std::string>> figures;
  for (auto& section : sections)
    for (Panel& panel : section)
      for (Figure& figure : panel.figures)
        if (!figure.script.empty()) figures.emplace_back(&figure, panel.heading + ": " + figure.title);
  if (!figures.empty()) std::filesystem::create_directory(plots);
  parallel_for(figures.size(),
               [&](std::size_t i) { draw(*figures[i].first, plots, gnuplot, figures[i].second); });
}

inline std::string gnuplot_note(bool gnuplot) {
  if (gnuplot) return "";
  return "<div class=\"box\" id=\"no-gnuplot\">gnuplot was not found in PATH: figures are tables here. Their "
         "scripts and data are in "
         "<code>plots/</code>; with gnuplot installed (package <code>gnuplot-nox</code>), run <code>gnuplot "
         "*.gp</code> there, or "
         "make the report again.</div>\n";
}

}  // namespace report::detail

/// Writes the report of one or more experiments to a folder (checked_report_folder says which it may be),
/// which appears whole or not at all. Without gnuplot it has tables in place of figures. Throws Error when
/// the folder cannot be written.
inline void write_report(const std::filesystem::path& folder, const std::vector<Analysis>& analyses,
                         const std::vector<Failure>& failures) {
  namespace detail = report::detail;
  report::AtomicFolder out(folder);
  const bool gnuplot = report::gnuplot_version().has_value();
  std::vector<std::vector<report::Panel>> sections;
  for (std::size_t e = 0; e < analyses.size(); ++e) sections.push_back(report::panels_of(e, analyses[e]));
  detail::draw_all(sections, out.path() / "plots", gnuplot);
  std::filesystem::create_directory(out.path() / "csv");
  report::write_csv(out.path() / "csv", analyses);
  std::string page = report::page_begin("Comparison of floating-point results");
  page += report::failures_html(failures) + detail::gnuplot_note(gnuplot) + report::summary_html(analyses);
  for (std::size_t e = 0; e < analyses.size(); ++e) {
    check_interrupt();
    page += report::section_html(e, analyses[e], sections[e]);
  }
  page += report::terms_html(analyses.front().threshold);
  page += report::page_end({"configurations.csv", "run_times.csv", "verdicts.csv", "comparisons.csv",
                            "rows.csv", "ulp.csv", "matrices.csv", "timing.csv"});
  detail::write_text(out.path() / "index.html", page);
  out.commit();
}

/// The same of published measurements.
inline void write_report(const std::filesystem::path& folder, const published::Findings& findings,
                         const std::vector<Failure>& failures) {
  namespace detail = report::detail;
  report::AtomicFolder out(folder);
  const bool gnuplot = report::gnuplot_version().has_value();
  std::vector<std::vector<report::Panel>> sections{report::panels_of(findings)};
  detail::draw_all(sections, out.path() / "plots", gnuplot);
  std::filesystem::create_directory(out.path() / "csv");
  report::write_csv(out.path() / "csv", findings);
  std::string page = report::page_begin("Published measurements");
  page += report::failures_html(failures) + detail::gnuplot_note(gnuplot) + report::summary_html(findings);
  for (const report::Panel& panel : sections.front()) page += report::panel_html(panel);
  page += report::page_end({"matrices.csv", "between_files.csv", "repetitions.csv"});
  detail::write_text(out.path() / "index.html", page);
  out.commit();
}

}  // namespace fpf::compare
