// One rank's decoder, whatever its policies: what running and describing a model asks of it.
#pragma once

#include <ATen/ops/log_softmax.h>

#include <fpf/device/kernels.hpp>
#include <fpf/execution/top_k.hpp>
#include <fpf/kernel/decode_step.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/operations.hpp>
#include <fpf/model/taps.hpp>
#include <fpf/parallel/parallelism.hpp>
#include <memory>

namespace fpf::model {

/// Implemented by Decoder. What needs no policy is written against this, and so compiled once.
class AnyDecoder {
 public:
  virtual ~AnyDecoder() = default;

  virtual const ModelConfig& config() const = 0;
  virtual at::ScalarType dtype() const = 0;  // of activations
  virtual at::Device device() const = 0;
  virtual const parallel::Shard& shard() const = 0;
  virtual int rank() const = 0;
  virtual int ranks() const = 0;
  /// What it asks of the other ranks.
  virtual const parallel::Collectives& collectives() const = 0;
  /// Bytes of the weights this rank holds.
  virtual std::size_t weight_bytes() const = 0;

  /// A cache for `batch` sequences of up to `positions` positions.
  virtual KvCache make_cache(std::int64_t batch, std::int64_t positions) const = 0;
  /// tokens [batch, count] int64, at the positions after the cache's -> logits [batch, logits_for, vocab] of
  /// the last `logits_for` of them, in the activations' dtype. Signals of the layers that `taps` wants go
  /// there on the way.
  virtual at::Tensor forward(const at::Tensor& tokens, KvCache& cache, std::int64_t logits_for, Taps* taps) = 0;

  /// logits [rows, vocab] of forward() -> the k largest log-probabilities of each row, on the CPU.
  virtual execution::TopK log_probs(const at::Tensor& logits, std::int64_t k) const {
    return execution::top_k(at::log_softmax(logits, -1, at::kFloat).cpu(), k);
  }

  /// Which kernels forward() uses.
  virtual OperationTable operations() const = 0;

  /// Whether element-wise chains are fused (the compiled execution).
  virtual bool is_fused() const = 0;
  /// How the decode step attends; on a GPU only.
  virtual kernel::AttentionForm decode_attention() const = 0;
  /// Where the decode step's kernels find weights and cache; on a GPU only.
  virtual kernel::ModelWeights gpu_weights(const KvCache& cache) const = 0;

  /// Whether a decode step is captured as one graph and replayed.
  virtual bool captures_steps() const { return is_fused(); }
  /// A decode step against that cache; on a GPU only. `keep` gives device memory that lives as long as the step.
  virtual std::unique_ptr<kernel::AnyStep> make_step(const kernel::StepConfig& config, const KvCache& cache,
                                                     const kernel::DecodeStep::Allocate& keep) const {
    return std::make_unique<kernel::DecodeStep>(device::kernels(device()), config, gpu_weights(cache), keep);
  }

  bool on_gpu() const { return device().is_cuda(); }
};

}  // namespace fpf::model
