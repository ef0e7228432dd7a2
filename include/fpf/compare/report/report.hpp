// A report: a folder with a page, its figures as scripts with data, and every number as CSV.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fpf/compare/collect.hpp>
#include <fpf/compare/output/csv.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/report/folder.hpp>
#include <fpf/compare/report/glossary.hpp>
#include <fpf/compare/report/head.hpp>
#include <fpf/compare/report/published.hpp>
#include <fpf/compare/report/section.hpp>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/interrupt.hpp>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare {

namespace report::detail {

/// The folder as a whole is atomic, its files need not be.
inline void write_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.flush()) fail("cannot write {}", path.string());
}

struct Drawing {
  Figure* figure;
  std::string label;
};

/// Takes in what gnuplot drew, or why it did not.
inline void take_in(const Drawing& drawing, const std::filesystem::path& plots, const ProgramEnd& end) {
  Figure& figure = *drawing.figure;
  const std::filesystem::path path = plots / (figure.name + ".svg");
  if (end.found && end.status == 0) {
    std::ifstream file(path, std::ios::binary);
    figure.svg =
        svg_for_page(std::string(std::istreambuf_iterator<char>(file), {}), figure.name, drawing.label, figure.hints);
  }
  if (!figure.svg.empty()) return;
  const std::size_t begin = std::min(end.output.find_first_not_of(" \n"), end.output.size());
  figure.problem = "gnuplot says " + (begin == end.output.size() ? "nothing" : one_line(end.output.substr(begin), 300));
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

/// Draws a few figures by one gnuplot, since starting it takes longest; where that fails, each by its own.
inline void draw(std::span<const Drawing> drawings, const std::filesystem::path& plots) {
  const auto run = [&](std::span<const Drawing> some) {
    std::vector<std::string> arguments{"gnuplot", "-d"};
    for (const Drawing& drawing : some) arguments.push_back(drawing.figure->name + ".gp");
    check_interrupt();
    const ProgramEnd end = run_in(plots, arguments);
    check_interrupt();  // the signal reaches gnuplot too
    return end;
  };
  const ProgramEnd all = run(drawings);
  for (std::size_t i = 0; i < drawings.size(); ++i)
    take_in(drawings[i], plots, all.status == 0 || drawings.size() == 1 ? all : run(drawings.subspan(i, 1)));
}

/// Writes the figures' scripts and data, and draws them where there is a gnuplot.
inline void draw_all(std::vector<std::vector<Panel>>& sections, const std::filesystem::path& plots, bool gnuplot) {
  std::vector<Drawing> drawings;
  for (auto& section : sections)
    for (Panel& panel : section)
      for (Figure& figure : panel.figures)
        if (!figure.script.empty()) drawings.push_back({&figure, panel.heading + ": " + figure.title});
  if (drawings.empty()) return;
  std::filesystem::create_directory(plots);
  for (const Drawing& drawing : drawings) {
    write_text(plots / (drawing.figure->name + ".gp"), script_of(*drawing.figure));
    write_text(plots / (drawing.figure->name + ".dat"), drawing.figure->data);
  }
  constexpr std::size_t batch = 12;
  if (!gnuplot) return;
  parallel_for((drawings.size() + batch - 1) / batch, [&](std::size_t i) {
    draw(std::span(drawings).subspan(i * batch, std::min(batch, drawings.size() - i * batch)), plots);
  });
}

inline std::string gnuplot_note(bool gnuplot) {
  if (gnuplot) return "";
  return "<div class=\"box\" id=\"no-gnuplot\">gnuplot was not found in PATH: figures are tables here. Their "
         "scripts and data are in "
         "<code>plots/</code>; with gnuplot installed (package <code>gnuplot-nox</code>), run <code>gnuplot "
         "*.gp</code> there, or "
         "make the report again.</div>\n";
}

/// The folder, its figures, CSV files and page; body() is what stands between the summary and the end.
template <class Findings, class Body>
void write_folder(const std::filesystem::path& given, std::string_view title, const Findings& findings,
                  const std::vector<Failure>& failures, std::vector<std::vector<Panel>>& sections, Body body,
                  const std::vector<std::string>& csv_files) {
  const std::filesystem::path folder = checked_report_folder(given);
  AtomicDirectory out(folder, AtomicDirectory::Existing::replaced);
  const bool gnuplot = gnuplot_version().has_value();
  draw_all(sections, out.content() / "plots", gnuplot);
  std::filesystem::create_directory(out.content() / "csv");
  write_csv(out.content() / "csv", findings);
  auto links = links_of(findings);
  if (!failures.empty()) links.insert(links.begin(), {Link{"left-out", "Left out"}});
  const std::string page = page_begin(title) + head_html(findings) + contents_html(links) + failures_html(failures) +
                           gnuplot_note(gnuplot) + summary_html(findings) + body() + page_end(csv_files);
  AtomicFile(out.content() / "index.html").append(page).commit();
  checked_report_folder(folder);  // it may have changed in the meantime
  out.commit();
}

}  // namespace report::detail

/// Writes the report of one or more experiments to a folder (checked_report_folder says which it may be),
/// which appears whole or not at all. Without gnuplot it has tables in place of figures. Throws Error when
/// the folder cannot be written.
inline void write_report(const std::filesystem::path& folder, const std::vector<Analysis>& analyses,
                         const std::vector<Failure>& failures) {
  std::vector<std::vector<report::Panel>> sections;
  for (std::size_t e = 0; e < analyses.size(); ++e) sections.push_back(report::panels_of(e, analyses[e]));
  const auto body = [&] {
    std::string out;
    for (std::size_t e = 0; e < analyses.size(); ++e) {
      check_interrupt();
      out += report::section_html(e, analyses[e], sections[e]);
    }
    return out + report::terms_html(analyses.front().threshold) + report::glossary_html();
  };
  report::detail::write_folder(folder, "Comparison of floating-point results", analyses, failures, sections, body,
                               {"configurations.csv", "run_times.csv", "prompts.csv", "verdicts.csv", "comparisons.csv",
                                "rows.csv", "ulp.csv", "matrices.csv", "timing.csv"});
}

/// The same of published measurements.
inline void write_report(const std::filesystem::path& folder, const published::Findings& findings,
                         const std::vector<Failure>& failures) {
  std::vector<std::vector<report::Panel>> sections{report::panels_of(findings)};
  const auto body = [&] {
    std::string out;
    for (const report::Panel& panel : sections.front()) out += report::panel_html(panel);
    return out;
  };
  report::detail::write_folder(folder, "Published measurements", findings, failures, sections, body,
                               {"matrices.csv", "between_files.csv", "repetitions.csv"});
}

}  // namespace fpf::compare
