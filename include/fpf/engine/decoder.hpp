// One rank's decoder, whoever computes: what running and describing a model asks of it.
#pragma once

#include <ATen/ops/log_softmax.h>
#include <c10/core/InferenceMode.h>

#include <fpf/device/kernels.hpp>
#include <fpf/engine/step.hpp>
#include <fpf/execution/execution.hpp>
#include <fpf/execution/top_k.hpp>
#include <fpf/model/config.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/taps.hpp>
#include <fpf/parallel/rank.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fpf::engine {

/// Operation -> kernel, in the order of a forward pass. fpf's own kernels are named as the manifest's
/// own_kernels are, where their source's hash stands; "libtorch F" is that library's function.
using OperationTable = std::vector<std::pair<std::string, std::string>>;

/// Prefill and decode are the same function over many tokens or one; on a GPU decode steps are made of kernels of their
/// own (make_step).
class Decoder {
 public:
  virtual ~Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  const model::ModelConfig& config() const { return config_; }
  at::ScalarType dtype() const { return c10::typeMetaToScalarType(options_.dtype()); }  // of activations
  at::Device device() const { return options_.device(); }
  bool on_gpu() const { return device().is_cuda(); }
  const parallel::Shard& shard() const { return rank_.shard; }
  int rank() const { return rank_.rank; }
  int ranks() const { return rank_.size; }
  /// What it asks of the other ranks.
  const parallel::Collectives& collectives() const { return rank_.collectives; }

  /// A cache for `batch` sequences of up to `positions` positions.
  model::KvCache make_cache(std::int64_t batch, std::int64_t positions) const {
    const c10::InferenceMode guard;
    return {config_.num_layers, batch, shard().kv_heads.size(), positions, config_.head_dim, options_};
  }

  /// Bytes of the weights this rank holds.
  virtual std::size_t weight_bytes() const = 0;
  /// tokens [batch, count] int64, at the positions after the cache's -> logits [batch, logits_for, vocab] of
  /// the last `logits_for` of them, in the activations' dtype (portable: float32). Signals of the layers that `taps`
  /// wants go there on the way.
  virtual at::Tensor forward(const at::Tensor& tokens, model::KvCache& cache, std::int64_t logits_for,
                             model::Taps* taps) = 0;
  /// logits [rows, vocab] of forward() -> the k largest log-probabilities of each row, on the CPU.
  virtual execution::TopK log_probs(const at::Tensor& logits, std::int64_t k) const {
    return execution::top_k(at::log_softmax(logits, -1, at::kFloat).cpu(), k);
  }
  /// Which kernels forward() uses.
  virtual OperationTable operations() const = 0;

  /// On a GPU: a decode step as `config` says, against that cache. `keep` gives device memory that lives as long as the
  /// step, zeroed.
  virtual std::unique_ptr<Step> make_step(kernel::StepConfig config, const model::KvCache& cache,
                                          const kernel::Allocate& keep) const = 0;
  /// On a GPU: whether a step is captured as one graph and replayed.
  virtual bool captures_steps() const = 0;

 protected:
  Decoder(model::ModelConfig config, parallel::Rank rank, at::ScalarType dtype, at::Device device)
      : config_(std::move(config)), rank_(std::move(rank)), options_(at::TensorOptions(dtype).device(device)) {}

  const at::TensorOptions& options() const { return options_; }

 private:
  model::ModelConfig config_;
  parallel::Rank rank_;
  at::TensorOptions options_;
};

/// What passes and steps of `rows` sequences work on, but for what is the caller's: signals, cache and other ranks.
inline kernel::StepConfig step_config(const model::ModelConfig& config, const parallel::Shard& shard,
                                      at::ScalarType dtype, std::int64_t rows) {
  const auto as_int = [](std::int64_t value) { return static_cast<int>(value); };
  kernel::StepConfig step;
  step.dtype = device::dtype_of(dtype);
  step.hidden = as_int(config.hidden_size);
  step.vocabulary = as_int(config.vocab_size);
  step.eps = static_cast<float>(config.rms_norm_eps);
  step.attention = {as_int(shard.heads.size()), as_int(shard.kv_heads.size()), as_int(config.head_dim),
                    config.block.qk_norm};
  step.mlp = config.is_moe()
                 ? kernel::MoeShape{step.hidden, as_int(shard.expert_mlp.size()), as_int(config.num_experts),
                                    as_int(config.experts_per_token), config.norm_topk_prob}
                 : kernel::MoeShape{step.hidden, as_int(shard.mlp.size()), 1, 1, false};
  step.rows = as_int(rows);
  return step;
}

/// What a layer shows of a pass over `count` tokens of each sequence, to who wants it; before advance(). `routing`: of
/// batch * count rows, null in a dense model; `hidden`: the residual stream that leaves it, [batch, count, hidden].
inline void show_layer(model::Taps& taps, std::int64_t layer, const model::KvCache& cache,
                       const parallel::Collectives& collectives, std::int64_t kv_heads,
                       const execution::Routing* routing, const at::Tensor& hidden) {
  using enum evidence::StoredSignal;
  const std::int64_t batch = hidden.size(0), count = hidden.size(1);
  const at::Tensor own = cache.keys(layer, cache.length() + count).narrow(2, cache.length(), count);
  taps.take(key_vectors, layer, {collectives.gather_keys(own, kv_heads).transpose(1, 2)});
  if (routing != nullptr) {
    const auto by_token = [&](const at::Tensor& t) { return t.reshape({batch, count, -1}); };
    taps.take(router, layer, {by_token(routing->expert_ids), by_token(routing->weights), by_token(routing->margin)});
  }
  taps.take(hidden_states, layer, {hidden});
}

}  // namespace fpf::engine
