// Ranks that are processes on CPUs: their tensors pass through the place where they meet.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>

#include <cstring>
#include <fpf/parallel/world.hpp>

namespace fpf::parallel {

/// Sums are InProcess's, in rank order, so processes and threads give the same bits. Made for checking what ranks on
/// GPUs do, not for speed: all bytes go through rank 0's process.
class StoreExchange : public Communicator {
 public:
  explicit StoreExchange(World& world) : world_(world) {}

  int rank() const override { return world_.rank(); }
  int size() const override { return world_.size(); }

  void all_reduce(const at::Tensor& t) override {
    const std::vector<at::Tensor> all = exchange(t);
    at::Tensor sum = all[0];
    for (std::size_t r = 1; r < all.size(); ++r) sum = sum + all[r];
    t.copy_(sum);
  }
  void all_gather(const at::Tensor& t, const at::Tensor& out) override {
    const std::vector<at::Tensor> all = exchange(t);
    for (std::size_t r = 0; r < all.size(); ++r) out.select(0, static_cast<std::int64_t>(r)).copy_(all[r]);
  }
  void broadcast(const at::Tensor& t, int root) override { t.copy_(exchange(t)[static_cast<std::size_t>(root)]); }
  void barrier() override { world_.all({}); }
  void abort() noexcept override {}  // as_rank() tells the others why
  void check() const override { world_.check(); }

  nlohmann::ordered_json describe() const override {
    return {{"kind", "processes"}, {"emulated", true}, {"sum", "in rank order, in the activations' dtype"}};
  }

 private:
  std::vector<at::Tensor> exchange(const at::Tensor& t) {
    const auto all = world_.all({static_cast<const char*>(t.const_data_ptr()), t.nbytes()});
    std::vector<at::Tensor> out;
    for (std::size_t r = 0; r < all.size(); ++r) {
      if (all[r].size() != t.nbytes())
        fail("rank {} sent {} bytes where rank {} has {}: they run different models", r, all[r].size(), rank(),
             t.nbytes());
      out.push_back(at::empty_like(t));
      std::memcpy(out.back().data_ptr(), all[r].data(), t.nbytes());
    }
    return out;
  }

  World& world_;
};

}  // namespace fpf::parallel
