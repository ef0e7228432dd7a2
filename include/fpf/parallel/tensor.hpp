// Tensor parallelism (Shoeybi et al., Megatron-LM, arXiv:1909.08053): every layer's matrices divided over the
// ranks.
#pragma once

#include <fpf/core/error.hpp>
#include <fpf/parallel/transport.hpp>
#include <limits>

namespace fpf::parallel {

/// q, k, v, gate and up are split by their outputs, o and down by their inputs, the head by the vocabulary;
/// partial results are added after attention and after the MLP or the experts. Key-value heads are divided
/// over the ranks, or replicated where there are more ranks than heads. Embedding, norms and the router are
/// whole on every rank. Under portable execution every matrix is split by its outputs instead (Shard::by_outputs).
class Tensor {
 public:
  static constexpr std::string_view name = "tensor";
  static constexpr std::string_view size_param = "tp_size";

  static std::vector<Tensor> local_ranks(const RankOptions& options) {
    std::vector<Tensor> out;
    for (auto& communicator : local_communicators(options))
      out.push_back(Tensor(std::move(communicator), options.by_outputs));
    return out;
  }

  int rank() const { return communicator_->rank(); }
  int size() const { return communicator_->size(); }

  Shard shard(const model::ModelConfig& config) const {
    if (by_outputs_) return Shard::by_outputs_of(config, rank(), size());
    Shard out = Shard::whole(config);
    out.heads = part("attention heads", config.num_heads);
    out.kv_heads = kv_part(config);
    out.vocabulary = part("rows of the vocabulary", config.vocab_size);
    if (config.is_moe())
      out.expert_mlp = part("columns of an expert", config.moe_intermediate_size);
    else
      out.mlp = part("columns of the MLP", config.intermediate_size);
    return out;
  }

  static Partial partial() { return {.attention = true, .mlp = true, .kv_heads = true, .vocabulary = true}; }
  Communicator* communicator() const { return communicator_.get(); }

 private:
  Tensor(std::shared_ptr<Communicator> communicator, bool by_outputs)
      : communicator_(std::move(communicator)), by_outputs_(by_outputs) {}

  Range part(std::string_view what, std::int64_t total) const {
    if (total % size() != 0)
      fail("tensor parallelism over {} ranks: the model's {} {} do not divide", size(), total, what);
    const std::int64_t own = total / size();
    return {rank() * own, (rank() + 1) * own};
  }

  Range kv_part(const model::ModelConfig& config) const {
    const std::int64_t heads = config.num_kv_heads;
    if (size() <= heads) return part("key-value heads", heads);
    if (size() % heads != 0)
      fail("tensor parallelism over {} ranks: the model's {} key-value heads cannot be replicated evenly", size(),
           heads);
    const std::int64_t own = rank() / (size() / heads);
    return {own, own + 1};
  }

  std::shared_ptr<Communicator> communicator_;
  bool by_outputs_;
};

static_assert(Parallelism<Tensor>);

}  // namespace fpf::parallel
