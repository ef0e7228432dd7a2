// The contract of parallelism policies: which part of a model a rank holds, and how partial results become
// whole.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/range.hpp>
#include <fpf/model/config.hpp>
#include <fpf/parallel/communicator.hpp>
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

  static Shard whole(const model::ModelConfig& config) {
    Shard out{{0, config.num_heads},
              {0, config.num_kv_heads},
              {0, config.intermediate_size},
              {0, config.moe_intermediate_size},
              {},
              {0, config.vocab_size}};
    out.experts.resize(static_cast<std::size_t>(config.num_experts));
    std::iota(out.experts.begin(), out.experts.end(), 0);
    return out;
  }
};

/// What the user asked for, of which a policy takes what concerns it.
struct RankOptions {
  int size = 1;                          // ranks in all
  std::string placement = "contiguous";  // of experts: contiguous or round_robin
  bool emulate = false;                  // all ranks on one GPU; on the CPU they always share it
};

/// The device of a rank where the user named `device`: GPUs are counted from there, the CPU is shared, and so
/// is the one GPU when ranks are emulated.
inline std::string rank_device(const std::string& device, const RankOptions& options, int rank) {
  if (!device.starts_with("cuda") || options.emulate || options.size == 1) return device;
  const auto first = parse_number<int>(device == "cuda" ? "0" : std::string_view(device).substr(5));
  if (!first) fail("--device {}: expected cpu, cuda or cuda:N", device);
  return "cuda:" + std::to_string(*first + rank);
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
concept HasCollectives = requires(const P& p, at::Tensor t, const model::ModelConfig& config) {
  { p.sum_attention(t) } -> std::same_as<at::Tensor>;
  { p.sum_mlp(t) } -> std::same_as<at::Tensor>;
  { p.gather_keys(t, config) } -> std::same_as<at::Tensor>;
  { p.gather_logits(t) } -> std::same_as<at::Tensor>;
  { p.communicator() } -> std::same_as<Communicator*>;
};

/// A parallelism policy; one object a rank.
///   name                    "single", "tensor", "expert"
///   size_param              optional: which of the plan's parameters the number of ranks is, "tp_size" or "ep_size"
///   local_ranks(options)    the ranks that live in this process; each runs on a thread of its own
///   rank(), size()          this rank of how many
///   shard(config)           the part it holds; throws Error, by name, for a model that does not divide
///   sum_attention(t)        [..., hidden] partial outputs of the attention projection -> their sum, on every rank
///   sum_mlp(t)              likewise after the MLP or the experts
///   gather_keys(k, config)  [batch, own kv heads, tokens, head_dim] -> the model's kv heads, for the evidence
///   gather_logits(t)        [..., own vocabulary] -> [..., vocabulary]
///   communicator()          what carries them; nullptr for a rank that is alone
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
                "fpf: a parallelism policy needs `sum_attention`, `sum_mlp`, `gather_keys`, `gather_logits` "
                "and `communicator`");
};

}  // namespace fpf::parallel
