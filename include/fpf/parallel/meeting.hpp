// Where the threads of one process wait for one another.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <fpf/parallel/communicator.hpp>
#include <mutex>

namespace fpf::parallel {

/// A barrier for `size` threads that any of them can end.
class Meeting {
 public:
  explicit Meeting(int size) : size_(size) {}

  int size() const { return size_; }

  /// Returns when all have called it. What they wrote before is seen by all of them after. Throws Aborted once any has
  /// called abort().
  void meet() {
    std::unique_lock lock(mutex_);
    if (aborted_) throw Aborted();
    const auto round = rounds_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++rounds_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return rounds_ != round || aborted_; });
    if (rounds_ == round) throw Aborted();
  }

  void abort() noexcept {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }

  /// Throws Aborted once any has called abort().
  void check() {
    const std::lock_guard lock(mutex_);
    if (aborted_) throw Aborted();
  }

 private:
  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  std::uint64_t rounds_ = 0;
  bool aborted_ = false;
};

}  // namespace fpf::parallel
