// SIGINT and SIGTERM as a question that long work asks between its steps.
#pragma once

#include <csignal>
#include <fpf/core/error.hpp>

namespace fpf {

namespace detail {
inline volatile std::sig_atomic_t interrupt_requested = 0;
inline void request_interrupt(int signal) {
  if (interrupt_requested != 0) std::_Exit(128 + signal);  // asked twice: leave at once
  interrupt_requested = 1;
}
}  // namespace detail

/// From now on SIGINT and SIGTERM only make check_interrupt() throw; a second one ends the process at once.
inline void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = detail::request_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// Throws Interrupted when the user asked to stop.
inline void check_interrupt() {
  if (detail::interrupt_requested != 0) throw Interrupted();
}

}  // namespace fpf
