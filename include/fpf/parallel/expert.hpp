// Expert parallelism (Lepikhin et al., GShard, arXiv:2006.16668): the experts divided over the ranks, all
// else on each.
#pragma once

#include <algorithm>
#include <fpf/core/error.hpp>
#include <fpf/parallel/transport.hpp>

namespace fpf::parallel {

/// A rank adds up the outputs of those of a token's experts that it holds; the ranks' sums are added in rank
/// order. Placement "contiguous": rank r holds experts r n to (r + 1) n - 1; "round_robin": those with expert
/// mod ranks = r.
class Expert {
 public:
  static constexpr std::string_view name = "expert";
  static constexpr std::string_view size_param = "ep_size";

  static std::vector<Expert> local_ranks(const RankOptions& options) {
    if (std::ranges::find(placements, options.placement) == placements.end())
      fail("--placement {}: expected {}", options.placement, fmt::join(placements, " or "));
    std::vector<Expert> out;
    for (auto& communicator : local_communicators(options))
      out.push_back(Expert(std::move(communicator), options.placement));
    return out;
  }

  int rank() const { return communicator_->rank(); }
  int size() const { return communicator_->size(); }

  Shard shard(const model::ModelConfig& config) const {
    if (!config.is_moe())
      fail("expert parallelism: {} is a dense model, it has no experts to divide", config.architecture);
    if (config.num_experts % size() != 0)
      fail("expert parallelism over {} ranks: the model's {} experts do not divide", size(), config.num_experts);
    Shard out = Shard::whole(config);
    const std::int64_t own = config.num_experts / size();
    out.experts.resize(static_cast<std::size_t>(own));
    for (std::int64_t i = 0; i < own; ++i)
      out.experts[static_cast<std::size_t>(i)] = placement_ == "round_robin" ? i * size() + rank() : rank() * own + i;
    return out;
  }

  static Partial partial() { return {.mlp = true}; }
  Communicator* communicator() const { return communicator_.get(); }

 private:
  static constexpr std::array<std::string_view, 2> placements{"contiguous", "round_robin"};

  Expert(std::shared_ptr<Communicator> communicator, std::string placement)
      : communicator_(std::move(communicator)), placement_(std::move(placement)) {}

  std::shared_ptr<Communicator> communicator_;
  std::string placement_;
};

static_assert(Parallelism<Expert>);

}  // namespace fpf::parallel
