// The contract of parallelism policies: which part of a model a rank holds, and how partial results become
// whole.
#pragma once

#include <algorithm>
#include <concepts>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/range.hpp>
#include <fpf/model/config.hpp>
#include <fpf/parallel/collectives.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::parallel {

/// The part of a model that one rank computes.
struct Shard {
  Range heads;  // query heads
  Range kv_heads;
  Range mlp;                          // columns of the dense MLP's intermediate
  Range expert_mlp;                   // columns of every expert's intermediate
  std::vector<std::int64_t> experts;  // experts held, ascending
  Range vocabulary;                   // rows of the head
  Range hidden;                       // output features of the projections back to the residual stream
  /// Every matrix is cut by its outputs, and its inputs are gathered: no reduction is cut (portable execution). Else
  /// those projections are cut by their inputs, and their outputs are summands.
  bool by_outputs = false;

  static Shard whole(const model::ModelConfig& config) {
    Shard out{{0, config.num_heads},
              {0, config.num_kv_heads},
              {0, config.intermediate_size},
              {0, config.moe_intermediate_size},
              {},
              {0, config.vocab_size},
              {0, config.hidden_size}};
    out.experts.resize(static_cast<std::size_t>(config.num_experts));
    std::iota(out.experts.begin(), out.experts.end(), 0);
    return out;
  }

  /// A rank's part where every matrix is cut by its outputs, as evenly as they go; a key-value head that two ranks need
  /// is both's. Throws Error, by name, for more ranks than there are heads.
  static Shard by_outputs_of(const model::ModelConfig& config, int rank, int size) {
    if (size > config.num_heads)
      fail("tensor parallelism over {} ranks: the model has {} attention heads, and a rank needs one", size,
           config.num_heads);
    Shard out = whole(config);
    const std::int64_t group = config.num_heads / config.num_kv_heads;
    out.by_outputs = true;
    out.heads = even_part(config.num_heads, 1, rank, size);
    out.kv_heads = {out.heads.begin / group, (out.heads.end + group - 1) / group};
    out.vocabulary = feature_part(config.vocab_size, rank, size);
    out.hidden = feature_part(config.hidden_size, rank, size);
    (config.is_moe() ? out.expert_mlp : out.mlp) =
        feature_part(config.is_moe() ? config.moe_intermediate_size : config.intermediate_size, rank, size);
    return out;
  }

 private:
  /// The rank-th of `size` parts of `total`, in whole units, the longer ones first.
  static Range even_part(std::int64_t total, std::int64_t unit, std::int64_t rank, std::int64_t size) {
    const std::int64_t units = total / unit, each = units / size, longer = units % size;
    const auto begin = [&](std::int64_t r) { return unit * (r * each + std::min(r, longer)); };
    return {begin(rank), begin(rank + 1)};
  }
  /// Formats pack eight outputs into a word.
  static Range feature_part(std::int64_t features, std::int64_t rank, std::int64_t size) {
    return even_part(features, features % 8 == 0 ? 8 : 1, rank, size);
  }
};

class World;

/// What the user asked for, of which a policy takes what concerns it.
struct RankOptions {
  int size = 1;                          // ranks in all
  std::string placement = "contiguous";  // of experts: contiguous or round_robin
  bool by_outputs = false;               // cut no reduction (portable execution)
  bool emulate = false;                  // all ranks on one GPU; on the CPU they always share it
  std::string device = "cpu";            // the first rank's, as --device names it
  World* world = nullptr;                // the processes of a launcher, one rank each; null: all ranks are threads here
  int local_rank = 0;                    // this process's among those of its host, with a world
};

/// The device of a rank: GPUs are counted from the named one, the CPU is shared, and so is the one GPU when ranks are
/// emulated. Under a launcher it is the process's own.
inline std::string rank_device(const RankOptions& options, int rank) {
  const std::string& device = options.device;
  if (!device.starts_with("cuda") || options.emulate || options.size == 1) return device;
  const auto first = parse_number<int>(device == "cuda" ? "0" : std::string_view(device).substr(5));
  if (!first) fail("--device {}: expected cpu, cuda or cuda:N", device);
  return "cuda:" + std::to_string(*first + (options.world != nullptr ? options.local_rank : rank));
}

template <class P>
concept HasName = requires {
  { P::name } -> std::convertible_to<std::string_view>;
};
template <class P>
concept HasRanks = requires(const P& p, const RankOptions& options) {
  { P::local_ranks(options) } -> std::same_as<std::vector<P>>;
  { p.rank() } -> std::convertible_to<int>;
  { p.size() } -> std::convertible_to<int>;
};
template <class P>
concept HasShard = requires(const P& p, const model::ModelConfig& config) {
  { p.shard(config) } -> std::same_as<Shard>;
};
template <class P>
concept HasCollectives = requires(const P& p) {
  { p.partial() } -> std::same_as<Partial>;
  { p.communicator() } -> std::same_as<Communicator*>;
};

/// A parallelism policy; one object a rank.
///   name                    "single", "tensor", "expert"
///   size_param              optional: which of the plan's parameters the number of ranks is, "tp_size" or "ep_size"
///   local_ranks(options)    the ranks that live in this process; each runs on a thread of its own
///   rank(), size()          this rank of how many
///   shard(config)           the part it holds; throws Error, by name, for a model that does not divide
///   partial()               which of its results are only a part, to be made whole (Collectives)
///   communicator()          what carries that; nullptr for a rank that is alone
template <class P>
concept Parallelism = HasName<P> && HasRanks<P> && HasShard<P> && HasCollectives<P>;

/// Fails to compile with a sentence for every part that a policy lacks.
template <class P>
struct Require {
  static_assert(HasName<P>, "fpf: a parallelism policy needs `static constexpr std::string_view name`");
  static_assert(HasRanks<P>,
                "fpf: a parallelism policy needs `local_ranks(const RankOptions&)`, `rank()` and `size()`");
  static_assert(HasShard<P>, "fpf: a parallelism policy needs `Shard shard(const model::ModelConfig&) const`");
  static_assert(HasCollectives<P>,
                "fpf: a parallelism policy needs `Partial partial() const` and `Communicator* communicator() const`");
};

}  // namespace fpf::parallel
