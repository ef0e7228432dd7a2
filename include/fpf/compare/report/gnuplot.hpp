// gnuplot: scripts that a user can edit and run again, and the program that draws them.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fpf/compare/report/figure.hpp>
#include <fpf/compare/report/label.hpp>
#include <fpf/compare/report/series.hpp>
#include <fpf/compare/report/text.hpp>
#include <fpf/core/error.hpp>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare::report {

/// A text constant of a script. Single quotes: gnuplot substitutes nothing in them.
inline std::string script_text(std::string_view text) {
  std::string out = "'";
  for (const char c : one_line(text)) out.append(c == '\'' ? 2 : 1, c);
  return out + "'";
}

/// How values lie along an axis: from 0 when they are close together; by decades when they are not, and then
/// zeros have a band of their own below `low`.
struct Axis {
  bool log = false, zeros = false;
  double low = 0, high = 1;

  double zero() const { return zeros && log ? low * std::pow(low / high, 0.08) : 0; }
  double bottom() const { return zeros && log ? low * std::pow(low / high, 0.16) : low; }
};

inline constexpr double spans_decades = 20;  // ratio of largest to smallest from which an axis is logarithmic

/// For values that are not all zero.
inline Axis axis_of(const std::vector<double>& values) {
  Axis out;
  double smallest = std::numeric_limits<double>::infinity(), largest = 0;
  for (const double value : values) {
    if (value == 0) out.zeros = true;
    if (!(value > 0)) continue;
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
  }
  out.log = largest > spans_decades * smallest;
  out.low = out.log ? smallest / 1.25 : 0;
  out.high = largest * (out.log ? 1.25 : 1.06);
  return out;
}

inline std::string superscript(int number) {
  constexpr std::string_view digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = number < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(number))) out += digits[c - '0'];
  return out;
}

/// 0.001, 1000 and, where that gets long, 10⁻⁵: plain text in any terminal of gnuplot.
inline std::string power_text(int exponent) {
  if (std::abs(exponent) <= 3) return fmt::format("{:g}", std::pow(10.0, exponent));
  return "10" + superscript(exponent);
}

/// Marks of a logarithmic axis as a list for `set tics`.
inline std::string marks_of(const Axis& axis) {
  std::vector<std::string> marks;
  if (axis.zeros) marks.push_back("'0' zero");
  const double decades = std::log10(axis.high / axis.low);
  const int from = static_cast<int>(std::floor(std::log10(axis.low))),
            to = static_cast<int>(std::ceil(std::log10(axis.high)));
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / 7)));
  for (int exponent = from; exponent <= to; ++exponent) {
    for (const int digit : {1, 2, 5}) {
      const double value = digit * std::pow(10.0, exponent);
      if (value < axis.low || value > axis.high) continue;
      if (decades < 2.2)
        marks.push_back(fmt::format("'{}' {:g}", number_text(value), value));
      else if (digit == 1 && exponent % stride == 0)
        marks.push_back(fmt::format("'{}' 1e{}", power_text(exponent), exponent));
    }
  }
  return fmt::format("({})", fmt::join(marks, ", "));
}

/// Script lines that set up axis `name` ("x" or "y") and the function at(): where a value is drawn on it.
inline std::string axis_script(char name, const Axis& axis) {
  if (!axis.log) return fmt::format("set {}range [{:.6g}:{:.6g}]\nat(v) = v\n", name, axis.low, axis.high);
  std::string out = fmt::format("set logscale {0}\nset {0}range [{1:.6g}:{2:.6g}]\n", name, axis.bottom(), axis.high);
  out += fmt::format("zero = {:.6g}  # where zeros are drawn\n", axis.zeros ? axis.zero() : axis.low);
  out += fmt::format("at(v) = v > 0 ? v : (v == 0 ? zero : NaN)\nset {}tics {}\n", name, marks_of(axis));
  if (!axis.zeros) return out;
  const std::string from = name == 'y' ? "graph 0, first {0:.6g}" : "first {0:.6g}, graph 0",
                    to = name == 'y' ? "graph 1, first {1:.6g}" : "first {1:.6g}, graph 1";
  return out +
         fmt::format(fmt::runtime("set object 1 rectangle from " + from + " to " + to + " behind fillcolor rgb '" +
                                  std::string(grid_line) + "' fillstyle transparent solid 0.18 noborder\n"),
                     axis.bottom(), axis.low);
}

/// A figure's whole script: what all have in common, then its own part.
inline std::string script_of(const Figure& figure) {
  const Canvas& canvas = figure.canvas;
  const double height = canvas.height(), bottom = height - canvas.top - canvas.plot_height;
  std::string out = fmt::format("# {}: {}\n# Edit and run in this folder: gnuplot {}.gp\n", one_line(figure.title),
                                one_line(figure.about), figure.name);
  out += "reset\nset encoding utf8\n";
  out += fmt::format("set terminal svg size {:.0f},{:.0f} dynamic noenhanced font 'sans-serif,13' linewidth 1.4\n",
                     canvas.width, height);
  out += fmt::format("set output '{0}.svg'\nfile = '{0}.dat'\n", figure.name);
  out += fmt::format("set border 3 linecolor rgb '{0}'\nset tics nomirror scale 0.5 textcolor rgb '{0}'\n", ink);
  out += fmt::format("set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\n", canvas.left / canvas.width,
                     1 - canvas.right / canvas.width);
  out += fmt::format("set tmargin at screen {:.4f}\nset bmargin at screen {:.4f}\n", 1 - canvas.top / height,
                     bottom / height);
  // Labels stand above and below the axes, where no width of numbers pushes them out of the figure.
  if (!canvas.y_label.empty())
    out += fmt::format("set label 1 {} at screen 0.012, screen {:.4f} left textcolor rgb '{}'\n",
                       script_text(canvas.y_label), 1 - 14 / height, ink);
  if (!canvas.x_label.empty())
    out += fmt::format("set label 2 {} at graph 0.5, screen {:.4f} center textcolor rgb '{}'\n",
                       script_text(canvas.x_label), (bottom - canvas.below + 14) / height, ink);
  if (canvas.entries == 0) return out + "set key off\n" + figure.script;
  return out +
         fmt::format(
             "set key at screen 0, screen {:.4f} left top Left reverse vertical maxrows {} samplen 2.5 "
             "textcolor rgb '{}'\n",
             (bottom - canvas.below) / height, canvas.entries, ink) +
         figure.script;
}

/// An entry of a key, which stands beside its sample.
inline std::string key_text(std::string_view text) { return shortened_to(text, Canvas{}.width - 66); }

inline std::string grid_script(std::string_view axes) {
  return fmt::format("set grid {} linetype 1 linecolor rgb '{}' linewidth 0.35\n", axes, grid_line);
}

/// A number in a data file; what is missing is NaN there.
inline std::string data_text(double value) { return std::isnan(value) ? "NaN" : fmt::format("{}", value); }

/// How a program ended that was started without a shell.
struct ProgramEnd {
  bool found = false;
  int status = 0;      // exit code, or 128 + signal
  std::string output;  // both streams
};

/// Runs a program of PATH in `folder`, its input empty.
inline ProgramEnd run_in(const std::filesystem::path& folder, std::vector<std::string> arguments) {
  ProgramEnd out;
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) fail("cannot start {}: {}", arguments.front(), std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], 2);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  if (error == 0) {
    out.found = true;
    char buffer[4096];
    for (ssize_t count; (count = ::read(pipe[0], buffer, sizeof buffer)) != 0;) {
      if (count > 0) out.output.append(buffer, static_cast<std::size_t>(count));
      if (count < 0 && errno != EINTR) break;
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  ::close(pipe[0]);
  if (error != 0 && error != ENOENT && error != EACCES && error != ENOTDIR)
    fail("cannot start {}: {}", arguments.front(), std::strerror(error));
  return out;
}

/// "gnuplot 5.4 patchlevel 4"; nothing where PATH has no gnuplot that runs.
inline std::optional<std::string> gnuplot_version() {
  const ProgramEnd end = run_in(".", {"gnuplot", "--version"});
  if (!end.found || end.status != 0 || !end.output.starts_with("gnuplot")) return {};
  return end.output.substr(0, end.output.find('\n'));
}

}  // namespace fpf::compare::report
