// Progress on stderr: a bar on a terminal, a line a minute elsewhere, nothing when asked for quiet.
#pragma once

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fpf/core/message.hpp>
#include <fpf/core/text.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf {

enum class Verbosity { normal, quiet };

/// How much of a task is left, where its units are of several kinds (prefills and decode steps, say): units of a kind
/// take about as long as one another, those of two kinds may take a hundred times as long.
class RemainingTime {
 public:
  /// `totals`: units of each kind.
  explicit RemainingTime(std::vector<std::int64_t> totals)
      : totals_(std::move(totals)), done_(totals_.size()), seconds_(totals_.size()) {}

  void add(std::size_t kind, std::int64_t units, double seconds) {
    done_.at(kind) += units;
    seconds_[kind] += seconds;
  }
  /// Units that nobody had counted with.
  void extend(std::size_t kind, std::int64_t units) { totals_.at(kind) += units; }

  std::int64_t total() const { return std::accumulate(totals_.begin(), totals_.end(), std::int64_t{0}); }
  std::int64_t done() const { return std::accumulate(done_.begin(), done_.end(), std::int64_t{0}); }

  /// Nothing while there is a kind that no unit is done of.
  std::optional<double> seconds() const {
    double out = 0;
    for (std::size_t kind = 0; kind < totals_.size(); ++kind) {
      if (done_[kind] >= totals_[kind]) continue;
      if (done_[kind] == 0) return {};
      out += seconds_[kind] / static_cast<double>(done_[kind]) * static_cast<double>(totals_[kind] - done_[kind]);
    }
    return out;
  }

 private:
  std::vector<std::int64_t> totals_, done_;
  std::vector<double> seconds_;
};

/// One task of units of one or several kinds. Draws at most ten times a second and fits any terminal's width.
class Progress {
 public:
  Progress(std::string_view title, std::int64_t total, Verbosity verbosity)
      : Progress(title, std::vector{total}, verbosity) {}

  /// `totals`: units of each kind.
  Progress(std::string_view title, std::vector<std::int64_t> totals, Verbosity verbosity)
      : title_(one_line(title)),
        left_(std::move(totals)),
        quiet_(verbosity == Verbosity::quiet),
        terminal_(::isatty(STDERR_FILENO) == 1),
        start_(Clock::now()),
        advanced_(start_),
        drawn_(start_) {
    if (!quiet_ && terminal_) draw();
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (quiet_) return;
    if (terminal_)
      write_stderr("\r\x1b[K");
    else if (left_.done() > 0)
      tell("{}: {}/{} in {:.1f} s", title_, left_.done(), left_.total(), seconds());
  }

  void extend(std::size_t kind, std::int64_t units) { left_.extend(kind, units); }

  void advance(std::int64_t units = 1, std::size_t kind = 0) {
    const auto now = Clock::now();
    left_.add(kind, units, std::chrono::duration<double>(now - std::exchange(advanced_, now)).count());
    const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(60000);
    if (quiet_ || now - drawn_ < interval) return;
    drawn_ = now;
    if (terminal_)
      draw();
    else
      tell("{}: {}/{} after {:.0f} s{}", title_, left_.done(), left_.total(), seconds(), remaining());
  }

 private:
  using Clock = std::chrono::steady_clock;

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  std::string remaining() const {
    const auto left = left_.seconds();
    return left && left_.done() > 0 ? fmt::format(", {:.0f} s left", *left) : "";
  }

  /// Of the time where it is known, else of the units.
  double share_done() const {
    if (const auto left = left_.seconds(); left && left_.done() > 0)
      return seconds() / std::max(seconds() + *left, 1e-9);
    return static_cast<double>(left_.done()) / static_cast<double>(std::max<std::int64_t>(left_.total(), 1));
  }

  void draw() const {
    winsize size{};
    const int columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    std::string text = fmt::format("{} {}/{}{}", title_, left_.done(), left_.total(), remaining());
    const int room = columns - static_cast<int>(text.size()) - 4;
    if (room >= 8) {
      const auto filled = static_cast<std::size_t>(static_cast<double>(room) * std::min(share_done(), 1.0));
      text += " [" + std::string(filled, '#') + std::string(static_cast<std::size_t>(room) - filled, '.') + "]";
    }
    write_stderr("\r\x1b[K" + text.substr(0, static_cast<std::size_t>(std::max(columns - 1, 1))));
  }

  std::string title_;
  RemainingTime left_;
  bool quiet_;
  bool terminal_;
  Clock::time_point start_, advanced_, drawn_;
};

}  // namespace fpf
