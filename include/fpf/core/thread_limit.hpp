// How many threads a program can have here.
#pragma once

#include <fpf/core/error.hpp>
#include <latch>
#include <system_error>
#include <thread>
#include <vector>

namespace fpf {

/// Above this OpenMP's runtime libraries end by a signal (libgomp 12 between 2000 and 4000).
inline constexpr int most_threads = 1024;

/// How many threads this process may have at once, up to `wanted`: it starts them, since limits stand in many places
/// (of the process, its user, its container, its memory).
inline int possible_threads(int wanted) {
  std::latch end(1);
  std::vector<std::jthread> threads;
  try {
    while (static_cast<int>(threads.size()) + 1 < wanted) threads.emplace_back([&end] { end.wait(); });
  } catch (const std::system_error&) {
  }
  end.count_down();
  return static_cast<int>(threads.size()) + 1;
}

/// What every program's --threads must be. Throws Error, with what is possible here.
inline void require_threads(int count) {
  if (count < 1 || count > most_threads)
    fail("--threads {}: expected a positive number, at most {} (this machine has {} processors)", count, most_threads,
         std::thread::hardware_concurrency());
  if (const int possible = possible_threads(count); possible < count)
    fail("--threads {}: the limits here let this process have {} (of its user's processes, or of its memory)", count,
         possible);
}

}  // namespace fpf
