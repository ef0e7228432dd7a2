// One device holds the whole model.
#pragma once

#include <fpf/parallel/parallelism.hpp>

namespace fpf::parallel {

struct Single {
  static constexpr std::string_view name = "single";

  static std::vector<Single> local_ranks(const RankOptions&) { return {Single{}}; }
  static constexpr int rank() { return 0; }
  static constexpr int size() { return 1; }
  static Shard shard(const model::ModelConfig& config) { return Shard::whole(config); }
  static Partial partial() { return {}; }
  static Communicator* communicator() { return nullptr; }
};

static_assert(Parallelism<Single>);

}  // namespace fpf::parallel
