// Other programs as children: started, watched, interrupted with this one, never outliving it.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fpf/core/error.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/message.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf {

namespace detail {

/// A child's standard error on its way to ours, so that its last line is known. Where ours is a terminal the child sees
/// one, too, of the same width, and draws its progress.
class ErrorRelay {
 public:
  ErrorRelay() {
    winsize size{};
    const bool terminal = ::isatty(STDERR_FILENO) == 1 && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    std::array<int, 2> ends{-1, -1};
    const int made = terminal ? ::openpty(&ends[0], &ends[1], nullptr, nullptr, &size) : ::pipe(ends.data());
    if (made != 0) fail("cannot start a program: {}", std::strerror(errno));
    ours_ = ends[0];
    child_ = ends[1];
    for (const int fd : ends) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  ErrorRelay(const ErrorRelay&) = delete;
  ErrorRelay& operator=(const ErrorRelay&) = delete;
  ~ErrorRelay() {
    ::close(ours_);
    if (child_ >= 0) ::close(child_);
  }

  int child_end() const { return child_; }
  /// After the child has it.
  void close_child_end() { ::close(std::exchange(child_, -1)); }

  /// Waits up to `milliseconds` for output and passes it on. False when there was none.
  bool pass_on(int milliseconds) {
    pollfd ready{ours_, POLLIN, 0};
    if (::poll(&ready, 1, milliseconds) <= 0 || (ready.revents & POLLIN) == 0) return false;
    std::array<char, 4096> buffer;
    const ssize_t count = ::read(ours_, buffer.data(), buffer.size());
    if (count <= 0) return false;
    const std::string_view text(buffer.data(), static_cast<std::size_t>(count));
    write_stderr(text);
    for (const char c : text) {
      if (c != '\n' && c != '\r') {
        line_ += c;
      } else {
        if (c == '\n' && !line_.empty()) last_ = line_;
        line_.clear();
      }
    }
    return true;
  }

  std::string last_line() const { return line_.empty() ? last_ : line_; }

 private:
  int ours_ = -1, child_ = -1;
  std::string line_, last_;
};

}  // namespace detail

/// Starts a program and waits for it. An interrupt of this process interrupts it, too (once: it is in a process group
/// of its own, which a terminal's Ctrl-C does not reach); it never outlives this process. With `last_error`, its
/// standard error passes through here, and its last line stays there. Returns its exit code, or 128 + the signal that
/// ended it. Throws Error when it cannot be started.
inline int run_child(const std::vector<std::string>& args, std::string* last_error = nullptr) {
  std::vector<char*> argv;
  for (const auto& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  std::optional<detail::ErrorRelay> relay;
  if (last_error != nullptr) relay.emplace();
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) fail("cannot start {}: {}", args.front(), std::strerror(errno));
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // it died in between
    ::setpgid(0, 0);
    if (relay) ::dup2(relay->child_end(), STDERR_FILENO);
    ::execv(argv.front(), argv.data());
    ::_exit(127);
  }
  if (relay) relay->close_child_end();
  int status = 0;
  for (bool told = false; ::waitpid(child, &status, WNOHANG) == 0;) {
    if (detail::interrupt_requested != 0 && !std::exchange(told, true)) ::kill(child, SIGTERM);
    if (!relay || !relay->pass_on(20)) ::usleep(relay ? 1000 : 20000);
  }
  if (relay && last_error != nullptr) {
    while (relay->pass_on(0)) continue;
    *last_error = relay->last_line();
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code == 127)
    fail("cannot start {}: {}", args.front(),
         ::access(args.front().c_str(), X_OK) == 0 ? "it ended with exit code 127" : std::strerror(errno));
  return code;
}

}  // namespace fpf
