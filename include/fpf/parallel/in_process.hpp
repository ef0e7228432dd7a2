// Ranks that are threads of one process and share its device: the sharded arithmetic without the hardware, in a fixed
// order.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <condition_variable>
#include <fpf/parallel/communicator.hpp>
#include <memory>
#include <mutex>
#include <vector>

namespace fpf::parallel {

/// The communicator of one of `size` threads. all_reduce adds in rank order, ((r0 + r1) + r2) + ..., rounding
/// to the dtype after each addition; every rank adds for itself, so that all have the same bits. On a GPU the ranks share
/// one stream.
class InProcess : public Communicator {
 public:
  /// One communicator a rank, in rank order.
  static std::vector<std::shared_ptr<Communicator>> make(int size) {
    auto group = std::make_shared<Group>(size);
    std::vector<std::shared_ptr<Communicator>> out;
    for (int rank = 0; rank < size; ++rank) out.push_back(std::shared_ptr<InProcess>(new InProcess(group, rank)));
    return out;
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  void all_reduce(const at::Tensor& t) override {
    at::Tensor sum;
    exchange(t, [&](const std::vector<at::Tensor>& all) {
      sum = all[0];
      for (std::size_t r = 1; r < all.size(); ++r) sum = sum + all[r];
    });
    if (sum.defined()) t.copy_(sum);
  }
  void all_gather(const at::Tensor& t, const at::Tensor& out) override {
    if (size() == 1) out.select(0, 0).copy_(t);
    exchange(t, [&](const std::vector<at::Tensor>& all) {
      for (std::size_t r = 0; r < all.size(); ++r) out.select(0, static_cast<std::int64_t>(r)).copy_(all[r]);
    });
  }
  void broadcast(const at::Tensor& t, int root) override {
    exchange(t, [&](const std::vector<at::Tensor>& all) {
      if (rank_ != root) t.copy_(all[static_cast<std::size_t>(root)]);
    });
  }
  void barrier() override { group_->meet(); }
  void abort() noexcept override { group_->abort(); }
  void check() const override { group_->check(); }

  nlohmann::ordered_json describe() const override {
    return {{"kind", "threads"}, {"emulated", size() > 1}, {"sum", "in rank order, in the activations' dtype"}};
  }

 private:
  /// Where the threads meet.
  class Group {
   public:
    explicit Group(int size) : slots(static_cast<std::size_t>(size)) {}

    int size() const { return static_cast<int>(slots.size()); }

    /// Returns when all ranks have called it. What they wrote before is seen by all of them after.
    void meet() {
      std::unique_lock lock(mutex_);
      if (aborted_) throw Aborted();
      const auto round = rounds_;
      if (++arrived_ == size()) {
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

    void check() {
      const std::lock_guard lock(mutex_);
      if (aborted_) throw Aborted();
    }

    std::vector<at::Tensor> slots;  // a rank writes its own before meet(), and all read until the next meet()

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int arrived_ = 0;
    std::uint64_t rounds_ = 0;
    bool aborted_ = false;
  };

  InProcess(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  /// Calls use with the ranks' tensors while none of them changes.
  template <class Use>
  void exchange(const at::Tensor& t, Use use) {
    if (size() == 1) return;
    group_->slots[static_cast<std::size_t>(rank_)] = t;
    group_->meet();
    use(group_->slots);
    group_->meet();
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace fpf::parallel
