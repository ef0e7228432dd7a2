// What a report is made of: tables of text, and figures as a script with its data.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare::report {

/// Rows under a header, plain text; in a column's name a leading '>' aligns it to the right.
struct Grid {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;

  bool right(std::size_t column) const { return header[column].starts_with('>'); }
  std::string name(std::size_t column) const { return header[column].substr(right(column) ? 1 : 0); }
};

/// Size of a figure, in units of which its text is 13 high: the plot's box, and under it the key, an entry a
/// line, so that no label is ever too long for it.
struct Canvas {
  double width = 480, plot_height = 250;
  double left = 66, right = 14, top = 34;
  double below = 54;  // room for the x axis
  std::string x_label, y_label;
  std::size_t entries = 0;

  double plot_width() const { return width - left - right; }
  double height() const {
    return top + plot_height + below + (entries == 0 ? 0 : 8 + 19 * static_cast<double>(entries));
  }
};

/// A place in a drawing, in units of its canvas, and what a reader finds there, in words: a tooltip of these lines.
struct Hint {
  double x = 0, y = 0, width = 0, height = 0;
  std::vector<std::string> lines;
};

/// A figure, or why there is none: then `script` is empty and `sentence` says what is missing.
struct Figure {
  std::string name;      // its files are plots/NAME.gp, .dat and .svg
  std::string title;     // "Distance by step"
  std::string sentence;  // what it shows, from the data
  std::string about;     // of what signal, for the script's first line
  Canvas canvas;
  std::string script;  // gnuplot's commands behind those that all figures have (script_of)
  std::string data;
  Grid table;  // the figure's numbers
  std::vector<Hint> hints;

  std::string svg;      // what gnuplot drew
  std::string problem;  // why it did not
};

/// The figures of one signal, or of one topic, under a heading.
struct Panel {
  std::string heading;
  std::vector<Figure> figures;
  std::string id = "";  // for links; empty: none
};

}  // namespace fpf::compare::report
