// Synthetic work beside a measured run: matrix products that are busy a given share of the time.
#pragma once

#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <condition_variable>
#include <exception>
#include <fpf/device/threads.hpp>
#include <fpf/stream/stream_contention.hpp>
#include <functional>
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

/// Threads that work with pauses: each is busy for `duty` of the time. After a piece of work it sleeps until
/// its busy time is that share of its age, so that a late awakening is made up for by shorter sleeps.
class DutyLoad : public Load {
 public:
  using Piece = std::function<Span()>;  // does one piece of work

  /// `prepare` is called in each thread and gives that thread's piece of work.
  DutyLoad(double duty, int threads, std::function<Piece()> prepare)
      : duty_(duty), prepare_(std::move(prepare)), times_(static_cast<std::size_t>(threads)) {}
  ~DutyLoad() override { join(); }

  void start() override {
    const int measured_threads = at::get_num_threads();
    started_ = 0;
    failure_ = nullptr;
    for (auto& spans : times_) {
      spans.clear();
      threads_.emplace_back([this, &spans](const std::stop_token& stop) {
        try {
          work(stop, spans);
        } catch (...) {
          report_start(std::current_exception());
        }
      });
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return started_ == times_.size() || failure_; });
    device::set_threads(measured_threads);  // the load's threads changed what later ones begin with
    if (failure_) std::rethrow_exception(failure_);
  }

  LoadTimes stop() override {
    join();
    if (failure_) std::rethrow_exception(failure_);
    return std::exchange(times_, LoadTimes(times_.size()));
  }

 private:
  using Clock = std::chrono::steady_clock;

  void work(const std::stop_token& stop, std::vector<Span>& spans) {
    const c10::InferenceMode guard;
    device::set_threads(1);
    const Piece piece = prepare_();
    const auto birth = Clock::now();
    Clock::duration busy{};
    for (bool last = false; !last;) {
      last = stop.stop_requested();  // one piece more: the load ends after what it accompanied
      spans.push_back(piece());
      busy += spans.back().end - spans.back().begin;
      if (spans.size() == 1) report_start(nullptr);
      if (!last) pause_until(stop, birth + std::chrono::duration_cast<Clock::duration>(busy / duty_));
    }
  }

  void report_start(const std::exception_ptr& failure) {
    const std::lock_guard lock(mutex_);
    ++started_;
    if (failure) failure_ = failure;
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
  std::function<Piece()> prepare_;
  LoadTimes times_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t started_ = 0;
  std::exception_ptr failure_;
  std::vector<std::jthread> threads_;
};

/// The CPU's piece of work: a product of matrices that takes some milliseconds.
inline DutyLoad::Piece cpu_product() {
  constexpr std::int64_t side = 384;
  const at::Tensor a = at::randn({side, side}), b = at::randn({side, side});
  at::Tensor warm_up = at::mm(a, b);
  return [a, b, product = std::move(warm_up)]() mutable {
    const auto begin = std::chrono::steady_clock::now();
    at::mm_out(product, a, b);
    return Span{begin, std::chrono::steady_clock::now()};
  };
}

}  // namespace fpf::stream
