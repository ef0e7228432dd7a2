// What a program says on standard error: heard where somebody listens, never in the way of its work.
#pragma once

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <fpf/core/text.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace fpf {

/// Writes to standard error, as much as it takes: where it is closed, full, or a pipe that nobody reads, the rest is
/// lost and the program goes on as it would have.
inline void write_stderr(std::string_view text) noexcept {
  sigset_t broken_pipe, before;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) {  // the signal is this thread's: taken here, unless it waits for others already
      const timespec at_once{};
      if (sigismember(&before, SIGPIPE) == 0) ::sigtimedwait(&broken_pipe, nullptr, &at_once);
    }
    if (written <= 0) break;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// The longest line that is said; a longer one is cut in its middle.
inline constexpr std::size_t longest_message = 2000;

/// Says one line on standard error, as write_stderr() does: whatever the arguments hold, it steers no terminal.
template <class... Args>
void tell(fmt::format_string<Args...> format, Args&&... args) {
  write_stderr(cut_in_the_middle(fmt::format(format, std::forward<Args>(args)...), longest_message) + "\n");
}

}  // namespace fpf
