// libtorch's threads on a CPU.
#pragma once

#include <ATen/Parallel.h>

#include <mutex>

namespace fpf::device {

/// How many threads the operations of the calling thread use from now on. libtorch's count belongs to the
/// thread, and is what threads that follow begin with.
inline void set_threads(int threads) {
  static std::mutex mutex;  // libtorch's setter also resizes a pool that all threads share
  const std::lock_guard lock(mutex);
  at::set_num_threads(threads);
  at::get_num_threads();  // a thread's first question would set its count again
}

}  // namespace fpf::device
