// The ranks of one process at work, each on a thread of its own.
#pragma once

#include <algorithm>
#include <exception>
#include <fpf/device/threads.hpp>
#include <fpf/parallel/communicator.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace fpf::parallel {

/// What each of `ranks` threads may use of the calling thread's.
inline int threads_per_rank(std::size_t ranks) { return std::max(1, at::get_num_threads() / static_cast<int>(ranks)); }

/// Runs work(r) for r in [0, ranks), each on a thread of its own with its share of the intra-op threads, and
/// waits for all of them; one rank runs here. When a rank throws, give_up(r) must release the others; the
/// first error is thrown again here, after all ranks have ended.
template <class Work, class GiveUp>
void run_ranks(std::size_t ranks, Work work, GiveUp give_up) {
  if (ranks == 1) return work(std::size_t{0});
  const int all_threads = at::get_num_threads(), own_threads = threads_per_rank(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  const auto body = [&](std::size_t rank) {
    try {
      device::set_threads(own_threads);
      work(rank);
    } catch (const Aborted&) {  // the error that made it give up is another rank's
    } catch (...) {
      {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
      give_up(rank);
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < ranks; ++rank) threads.emplace_back(body, rank);
  }
  device::set_threads(all_threads);
  if (first) std::rethrow_exception(first);
}

}  // namespace fpf::parallel
