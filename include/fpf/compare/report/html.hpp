// A report's page: its parts as HTML.
#pragma once

#include <algorithm>
#include <fpf/compare/collect.hpp>
#include <fpf/compare/report/figure.hpp>
#include <fpf/compare/report/folder.hpp>
#include <fpf/compare/report/style.hpp>
#include <fpf/compare/report/svg.hpp>
#include <fpf/compare/report/text.hpp>
#include <fpf/core/version.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare::report {

/// A table that scrolls by itself where it is too wide. Of class "cards" it turns into a list of cards on a phone;
/// of class "prose" its cells break into lines. A column that says nothing is left out.
inline std::string table_html(const Grid& grid, std::string_view label, std::string_view classes = "") {
  const bool cards = classes.starts_with("cards");
  const auto empty = [&](std::size_t c) {
    return !grid.rows.empty() && std::ranges::all_of(grid.rows, [&](const auto& row) { return row[c].empty(); });
  };
  std::string out =
      fmt::format("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table{}>\n<thead><tr>",
                  html_escaped(label), classes.empty() ? "" : fmt::format(" class=\"{}\"", classes));
  for (std::size_t c = 0; c < grid.header.size(); ++c)
    if (!empty(c))
      out +=
          fmt::format("<th scope=\"col\"{}>{}</th>", grid.right(c) ? " class=\"r\"" : "", html_escaped(grid.name(c)));
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : grid.rows) {
    out += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (empty(c)) continue;
      std::string marks = c == 0 ? "lead" : "";
      if (grid.right(c)) marks += marks.empty() ? "r" : " r";
      if (row[c].empty()) marks += marks.empty() ? "empty" : " empty";
      out +=
          fmt::format("<td{}{}>{}</td>", marks.empty() ? "" : fmt::format(" class=\"{}\"", marks),
                      cards ? fmt::format(" data-label=\"{}\"", html_escaped(grid.name(c))) : "", html_escaped(row[c]));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

inline std::string details_html(std::string_view summary, const std::string& content, bool open) {
  return fmt::format("<details{}><summary>{}</summary>\n{}</details>\n", open ? " open" : "", html_escaped(summary),
                     content);
}

/// A heading that links lead to.
inline std::string heading_html(std::string_view id, std::string_view text) {
  return fmt::format("<h3 id=\"{}\">{}</h3>\n", id, html_escaped(text));
}

/// A drawing; one wider than the others scrolls by itself where there is no room for it.
inline std::string drawing_html(const Figure& figure) {
  if (figure.svg.empty() || figure.canvas.width <= Canvas{}.width) return figure.svg;
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">"
      "<div style=\"min-width:{:.0f}px;max-width:{:.0f}px\">{}</div></div>\n",
      html_escaped(figure.title), figure.canvas.width, 1.13 * figure.canvas.width, figure.svg);
}

/// A drawing with its sentence and numbers; without a drawing the numbers are open.
inline std::string figure_html(const Figure& figure) {
  const bool wide = figure.canvas.width > Canvas{}.width;
  std::string out =
      fmt::format("<figure id=\"{}\"{}>\n<figcaption><h5>{}</h5><p>{}</p></figcaption>\n", figure.name,
                  wide ? " class=\"wide\"" : "", html_escaped(figure.title), html_escaped(figure.sentence));
  out += drawing_html(figure);
  if (!figure.problem.empty())
    out += fmt::format("<p class=\"problem\">Not drawn: {}.</p>\n", html_escaped(figure.problem));
  if (!figure.table.rows.empty())
    out += details_html("Numbers", table_html(figure.table, figure.title), figure.svg.empty());
  out += "<p class=\"files\">";
  for (const auto& [extension, word] : {std::pair("gp", "script"), {"dat", "data"}, {"svg", "SVG"}})
    if (extension != std::string_view("svg") || !figure.svg.empty())
      out += fmt::format("<a href=\"plots/{}.{}\">{}</a> ", figure.name, extension, word);
  return out + "</p>\n</figure>\n";
}

/// Why a figure is not there, with the numbers that are.
inline std::string missing_html(const Figure& figure) {
  std::string out = fmt::format("<li id=\"{}\"><strong>{}:</strong> {}", figure.name, html_escaped(figure.title),
                                html_escaped(figure.sentence));
  if (!figure.table.rows.empty()) out += details_html("Numbers", table_html(figure.table, figure.title), false);
  return out + "</li>\n";
}

inline std::string panel_html(const Panel& panel) {
  std::string drawn, missing;
  for (const Figure& figure : panel.figures)
    (figure.script.empty() ? missing : drawn) += figure.script.empty() ? missing_html(figure) : figure_html(figure);
  std::string out = fmt::format("<h4{}>{}</h4>\n", panel.id.empty() ? "" : fmt::format(" id=\"{}\"", panel.id),
                                html_escaped(panel.heading));
  if (!drawn.empty()) out += "<div class=\"figures\">\n" + drawn + "</div>\n";
  if (!missing.empty()) out += "<ul class=\"missing\">\n" + missing + "</ul>\n";
  return out;
}

inline std::string failures_html(const std::vector<Failure>& failures) {
  if (failures.empty()) return "";
  std::string out = fmt::format("<div class=\"box\" id=\"left-out\"><strong>Left out: {}</strong><ul>\n",
                                count_text(failures.size(), "input"));
  for (const Failure& failure : failures) out += fmt::format("<li>{}</li>\n", html_escaped(failure.message));
  return out + "</ul></div>\n";
}

/// Everything before the page's own content. The policy keeps the page from loading or running anything.
inline std::string page_begin(std::string_view title) {
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += fmt::format("{}\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n", generator_mark);
  out +=
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n";
  return out + fmt::format("<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
                           html_escaped(title), style_sheet);
}

inline std::string page_end(const std::vector<std::string>& csv) {
  std::string out = "<footer id=\"files\">\n<p>Every number as CSV: ";
  for (const std::string& name : csv) out += fmt::format("<a href=\"csv/{0}\">{0}</a> ", name);
  out +=
      "</p>\n<p>Figures: edit <code>plots/NAME.gp</code> and run <code>gnuplot NAME.gp</code> in that "
      "folder; it writes "
      "NAME.svg, this page keeps its own copy.</p>\n";
  return out + "</footer>\n</body>\n</html>\n";
}

}  // namespace fpf::compare::report
