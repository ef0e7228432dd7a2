// A rank's place in a model as data: all that a decoder knows of a parallelism policy.
#pragma once

#include <fpf/parallel/parallelism.hpp>
#include <memory>
#include <utility>

namespace fpf::parallel {

/// Which rank of how many, what it holds, and how its partial results become whole.
struct Rank {
  int rank = 0, size = 1;
  Shard shard;
  Collectives collectives;
  std::shared_ptr<const void> policy;  // owns what the collectives speak through

  /// The only rank, with the whole model.
  static Rank alone(const model::ModelConfig& config) { return {0, 1, Shard::whole(config), {}, nullptr}; }

  /// Throws Error, by name, for a model that does not divide.
  template <Parallelism P>
  static Rank of(P policy, const model::ModelConfig& config) {
    const auto kept = std::make_shared<const P>(std::move(policy));
    return {kept->rank(), kept->size(), kept->shard(config), {kept->communicator(), kept->partial()}, kept};
  }
};

}  // namespace fpf::parallel
