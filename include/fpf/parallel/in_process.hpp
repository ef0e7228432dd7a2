// Ranks that are threads of one process and share its device: the sharded arithmetic without the hardware, in a fixed
// order.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <fpf/parallel/meeting.hpp>
#include <memory>
#include <vector>

namespace fpf::parallel {

/// The communicator of one of `size` threads. all_reduce adds in rank order, ((r0 + r1) + r2) + ..., rounding
/// to the dtype after each addition; every rank adds for itself, so that all have the same bits. On a GPU the ranks
/// share one stream.
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
  struct Group : Meeting {
    explicit Group(int size) : Meeting(size), slots(static_cast<std::size_t>(size)) {}

    std::vector<at::Tensor> slots;  // a rank writes its own before meet(), and all read until the next meet()
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
