// gnuplot's drawings made parts of a page.
#pragma once

#include <charconv>
#include <fpf/compare/report/figure.hpp>
#include <fpf/compare/report/series.hpp>
#include <fpf/compare/report/text.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare::report {

namespace detail {

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// "rgb( 0, 114, 178)" as "#0072b2"; nothing for what is no such colour.
inline std::optional<std::string> hex_of(std::string_view rgb) {
  std::string out = "#";
  rgb.remove_prefix(4);
  for (int channel = 0; channel < 3; ++channel) {
    rgb.remove_prefix(std::min(rgb.find_first_of("0123456789"), rgb.size()));
    unsigned value = 0;
    const auto [end, error] = std::from_chars(rgb.data(), rgb.data() + rgb.size(), value);
    if (error != std::errc() || value > 255) return {};
    rgb.remove_prefix(static_cast<std::size_t>(end - rgb.data()));
    out += fmt::format("{:02x}", value);
  }
  return out;
}

/// The style sheet's name of a script's colour.
inline std::optional<std::string> variable_of(std::string_view hex) {
  if (hex == ink) return "var(--axis)";
  if (hex == grid_line) return "var(--grid)";
  if (hex == noise_colour) return "var(--noise)";
  for (std::size_t i = 0; i < change_colours.size(); ++i)
    if (hex == change_colours[i]) return fmt::format("var(--c{})", i);
  return {};
}

inline std::string with_variables(std::string_view svg) {
  std::string out;
  while (true) {
    const std::size_t at = svg.find("rgb(");
    const std::size_t end = at == svg.npos ? svg.npos : svg.find(')', at);
    if (end == svg.npos) return out.append(svg);
    const std::string_view colour = svg.substr(at, end + 1 - at);
    const auto hex = hex_of(colour);
    out.append(svg.substr(0, at)).append(hex ? variable_of(*hex).value_or(*hex) : std::string(colour));
    svg.remove_prefix(end + 1);
  }
}

/// gnuplot writes many groups that hold nothing, and names that would become tooltips.
inline std::string without_clutter(std::string_view svg) {
  std::string out;
  while (!svg.empty()) {
    const std::size_t end = std::min(svg.find('\n'), svg.size() - 1) + 1;
    const std::string_view line = svg.substr(0, end);
    svg.remove_prefix(end);
    if (line.starts_with("<g fill") && svg.starts_with("</g>\n")) {
      svg.remove_prefix(5);
      continue;
    }
    if (constexpr std::string_view empty = "\t\t<text></text>\n\t</g>\n";
        line.starts_with("\t<g transform") && svg.starts_with(empty)) {
      svg.remove_prefix(empty.size());
      continue;
    }
    const std::size_t title = line.find("<title>");
    const std::string_view kept = line.substr(std::min(line.find_first_not_of(" \t"), line.size() - 1));
    out += title == line.npos ? std::string(kept) : std::string(line.substr(0, title)) + "\n";
  }
  return out;
}

/// Without the shapes of points that nothing draws.
inline std::string without_unused_shapes(std::string svg) {
  std::size_t end = svg.rfind("</defs>");
  for (std::size_t at; end != svg.npos && (at = svg.rfind('\n', end - 1)) != svg.npos && at > 0; end = at) {
    const std::size_t begin = svg.rfind('\n', at - 1) + 1;  // the line before; a shape is a line, and uses earlier ones
    const std::string_view line(svg.data() + begin, at - begin);
    if (line.starts_with("<defs>")) break;
    const std::size_t id = line.find(" id='gpPt");
    if (id == line.npos) continue;
    const std::size_t from = id + 5, to = line.find('\'', from);
    const std::string use = "#" + std::string(line.substr(from, to - from)) + "'";
    if (svg.find(use) == svg.npos) svg.erase(begin, at + 1 - begin), at = begin;
  }
  return svg;
}

}  // namespace detail

/// Invisible places over the drawing, whose titles browsers show as tooltips.
inline std::string hints_svg(const std::vector<Hint>& hints) {
  std::string out = "<g class=\"hints\">\n";
  for (const Hint& hint : hints) {
    std::string text;
    for (const std::string& line : hint.lines) text += (text.empty() ? "" : "&#10;") + html_escaped(line);
    out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{}</title></rect>\n",
                       hint.x, hint.y, hint.width, hint.height, text);
  }
  return out + "</g>\n";
}

/// A drawing as part of a page: a label for readers of the screen, ids of its own, colours from the style
/// sheet, tooltips. Empty when `svg` is not a whole drawing.
inline std::string svg_for_page(std::string_view svg, const std::string& name, const std::string& label,
                                const std::vector<Hint>& hints) {
  const std::size_t begin = svg.find("<svg"), end = svg.rfind("</svg>");
  const std::size_t head = svg.find("<g id=\"gnuplot_canvas\">");
  const std::size_t box = svg.find("viewBox="), box_end = svg.find('\n', box);
  if (begin == svg.npos || end == svg.npos || head == svg.npos || box == svg.npos || box > head) return "";
  std::string out = fmt::format(
      "<svg {} xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" "
      "role=\"img\" aria-label=\"{}\">\n",
      svg.substr(box, box_end - box), html_escaped(label));
  out +=
      detail::with_variables(detail::without_unused_shapes(detail::without_clutter(svg.substr(head, end + 6 - head))));
  for (const char* quote : {"'", "\""})
    detail::replace_all(out, fmt::format("id={}", quote), fmt::format("id={}{}-", quote, name));
  detail::replace_all(out, "xlink:href='#", fmt::format("xlink:href='#{}-", name));
  detail::replace_all(out, "url(#", fmt::format("url(#{}-", name));
  for (const char* colour : {"black", "gray", "white"})
    detail::replace_all(out, fmt::format("color=\"{}\"", colour), "color=\"var(--axis)\"");
  detail::replace_all(out, "stroke=\"black\"", "stroke=\"var(--axis)\"");
  if (!hints.empty()) out.insert(out.rfind("</svg>"), hints_svg(hints));
  return out;
}

}  // namespace fpf::compare::report
