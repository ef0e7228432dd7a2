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
#include <string>
#include <string_view>

namespace fpf {

enum class Verbosity { normal, quiet };

/// One task of `total` equal units. Draws at most ten times a second and fits any terminal's width.
class Progress {
 public:
  Progress(std::string_view title, std::int64_t total, Verbosity verbosity)
      : title_(one_line(title)),
        total_(total),
        quiet_(verbosity == Verbosity::quiet),
        terminal_(::isatty(STDERR_FILENO) == 1),
        start_(Clock::now()),
        drawn_(start_) {
    if (!quiet_ && terminal_) draw();
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (quiet_) return;
    if (terminal_)
      write_stderr("\r\x1b[K");
    else if (done_ > 0)
      tell("{}: {}/{} in {:.1f} s", title_, done_, total_, seconds());
  }

  void advance(std::int64_t units = 1) {
    done_ += units;
    const auto now = Clock::now();
    const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(60000);
    if (quiet_ || now - drawn_ < interval) return;
    drawn_ = now;
    if (terminal_)
      draw();
    else
      tell("{}: {}/{} after {:.0f} s{}", title_, done_, total_, seconds(), remaining());
  }

 private:
  using Clock = std::chrono::steady_clock;

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  std::string remaining() const {
    if (done_ == 0) return "";
    return fmt::format(", {:.0f} s left", seconds() / static_cast<double>(done_) * static_cast<double>(total_ - done_));
  }

  void draw() const {
    winsize size{};
    const int columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    std::string text = fmt::format("{} {}/{}{}", title_, done_, total_, remaining());
    const int room = columns - static_cast<int>(text.size()) - 4;
    if (room >= 8) {
      const auto filled = static_cast<std::size_t>(static_cast<double>(room) * static_cast<double>(done_) /
                                                   static_cast<double>(std::max<std::int64_t>(total_, 1)));
      text += " [" + std::string(filled, '#') + std::string(static_cast<std::size_t>(room) - filled, '.') + "]";
    }
    write_stderr("\r\x1b[K" + text.substr(0, static_cast<std::size_t>(std::max(columns - 1, 1))));
  }

  std::string title_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  bool quiet_;
  bool terminal_;
  Clock::time_point start_, drawn_;
};

}  // namespace fpf
