// The ranks of one process at work, each on a thread of its own.
#pragma once

#include <algorithm>
#include <exception>
#include <fpf/core/error.hpp>
#include <fpf/device/threads.hpp>
#include <fpf/parallel/communicator.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace fpf::parallel {

/// What each of `ranks` threads may use of the calling thread's.
inline int threads_per_rank(std::size_t ranks) { return std::max(1, at::get_num_threads() / static_cast<int>(ranks)); }

/// The same error with the rank in front; what is no Error stays as it is.
inline std::exception_ptr naming(std::size_t rank, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return std::make_exception_ptr(Error(fmt::format("rank {}: {}", rank, error.what())));
  } catch (...) {
    return thrown;
  }
}

/// Runs work(r) for r in [0, ranks), each on a thread of its own with its share of the intra-op threads, and
/// waits for all of them; one rank runs here. When a rank throws, give_up() must release the others; the
/// first error is thrown again here, naming its rank, after all ranks have ended; and an Error where they had been
/// released before, so that nothing was computed.
template <class Work, class GiveUp>
void run_ranks(std::size_t ranks, Work work, GiveUp give_up) {
  if (ranks == 1) {
    try {
      return work(std::size_t{0});
    } catch (...) {
      give_up();
      throw;
    }
  }
  const int all_threads = at::get_num_threads(), own_threads = threads_per_rank(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  bool aborted = false;
  const auto body = [&](std::size_t rank) {
    try {
      device::set_threads(own_threads);
      work(rank);
    } catch (const Aborted&) {  // the error that made it give up is another rank's
      const std::lock_guard lock(mutex);
      aborted = true;
    } catch (...) {
      {
        const std::lock_guard lock(mutex);
        if (!first) first = naming(rank, std::current_exception());
      }
      give_up();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < ranks; ++rank) threads.emplace_back(body, rank);
  }
  device::set_threads(all_threads);
  if (first) std::rethrow_exception(first);
  if (aborted) fail("the ranks gave up in an earlier run: load the model anew");
}

}  // namespace fpf::parallel
