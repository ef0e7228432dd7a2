// Synthetic work beside a measured run: matrix products that are busy a given share of the time.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <condition_variable>
#include <fpf/parallel/ranks.hpp>
#include <fpf/stream/stream_contention.hpp>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace fpf::stream {

/// What a load did, one entry an independent stream of its work (a thread).
using LoadTimes = std::vector<std::vector<Span>>;

/// Runs beside the measured work between start() and stop().
class Load {
 public:
  virtual ~Load() = default;
  /// Returns when every stream of the load has finished its first piece of work.
  virtual void start() = 0;
  /// When each piece of work began and ended, in order.
  virtual LoadTimes stop() = 0;
};

/// Threads that multiply matrices: each is busy for `duty` of the time. After a product it sleeps until its
/// busy time is that share of its age, so that a late awakening is made up for by shorter sleeps.
class CpuLoad : public Load {
 public:
  CpuLoad(double duty, int threads) : duty_(duty), times_(static_cast<std::size_t>(threads)) {}
  ~CpuLoad() override { join(); }

  void start() override {
    const int measured_threads = at::get_num_threads();
    started_ = 0;
    for (auto& spans : times_) {
      spans.clear();
      threads_.emplace_back([this, &spans](const std::stop_token& stop) { work(stop, spans); });
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return started_ == times_.size(); });
    parallel::set_intra_op_threads(
        measured_threads);  // the load's threads changed what later ones begin with
  }

  LoadTimes stop() override {
    join();
    return std::exchange(times_, LoadTimes(times_.size()));
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::int64_t side = 384;  // a product takes some milliseconds

  void work(const std::stop_token& stop, std::vector<Span>& spans) {
    const c10::InferenceMode guard;
    parallel::set_intra_op_threads(1);
    const at::Tensor a = at::randn({side, side}), b = at::randn({side, side});
    at::Tensor product = at::empty({side, side});
    const auto birth = Clock::now();
    Clock::duration busy{};
    for (bool last = false; !last;) {
      last = stop.stop_requested();  // one piece more: the load ends after what it accompanied
      const auto begin = Clock::now();
      at::mm_out(product, a, b);
      const auto end = Clock::now();
      spans.push_back({begin, end});
      busy += end - begin;
      if (spans.size() == 1) report_start();
      if (!last) pause_until(stop, birth + std::chrono::duration_cast<Clock::duration>(busy / duty_));
    }
  }

  void report_start() {
    const std::lock_guard lock(mutex_);
    ++started_;
    changed_.notify_all();
  }

  /// Short sleeps: a stop must not wait for a long one.
  static void pause_until(const std::stop_token& stop, Clock::time_point due) {
    while (!stop.stop_requested() && Clock::now() < due)
      std::this_thread::sleep_until(std::min(due, Clock::now() + std::chrono::milliseconds(20)));
  }

  void join() {
    for (auto& thread : threads_) thread.request_stop();
    threads_.clear();
  }

  double duty_;
  LoadTimes times_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t started_ = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace fpf::stream
