// A rank's place in a model as data: all that a decoder knows of a parallelism policy.
#pragma once

#include <fpf/parallel/parallelism.hpp>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

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
    Shard shard = kept->shard(config);
    RankParts parts;
    for (int r = 0; shard.by_outputs && r < kept->size(); ++r) {
      const Shard other = Shard::by_outputs_of(config, r, kept->size());
      parts.attended.push_back({other.heads.begin * config.head_dim, other.heads.end * config.head_dim});
      parts.kv_heads.push_back(other.kv_heads);
      parts.hidden.push_back(other.hidden);
      parts.mlp.push_back(config.is_moe() ? other.expert_mlp : other.mlp);
      parts.vocabulary.push_back(other.vocabulary);
    }
    Collectives collectives(kept->communicator(), kept->partial(), std::move(parts));
    return {kept->rank(), kept->size(), std::move(shard), std::move(collectives), kept};
  }
};

/// A policy as a value.
struct Scheme {
  std::string_view name;
  std::string_view size_param;  // which of the plan's parameters the number of ranks is; empty: none
  /// The ranks that live in this process, of such a model. Throws Error, by name, for one that does not divide.
  std::vector<Rank> (*local_ranks)(const RankOptions& options, const model::ModelConfig& config);
};

/// The value of a policy, one for the whole program.
template <class P>
const Scheme& scheme() {
  static_assert(sizeof(Require<P>));
  static constexpr std::string_view size_param = [] {
    if constexpr (requires { P::size_param; }) return std::string_view(P::size_param);
    return std::string_view();
  }();
  static constexpr Scheme value{P::name, size_param, [](const RankOptions& options, const model::ModelConfig& config) {
                                  std::vector<Rank> out;
                                  for (P& rank : P::local_ranks(options))
                                    out.push_back(Rank::of(std::move(rank), config));
                                  return out;
                                }};
  return value;
}

}  // namespace fpf::parallel
