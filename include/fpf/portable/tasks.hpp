// Work in parallel whose pieces take different times.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace fpf::portable {

/// f(task) for 0 to count - 1, each by the next thread that is free: no result may depend on which.
template <class F>
void as_threads_are_free(std::int64_t count, F f) {
  std::atomic<std::int64_t> next{0};
  const std::int64_t threads = std::min<std::int64_t>(count, at::get_num_threads());
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread)
      for (std::int64_t task = next++; task < count; task = next++) f(task);
  });
}

}  // namespace fpf::portable
