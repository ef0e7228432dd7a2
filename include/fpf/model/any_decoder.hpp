// One rank's decoder, whatever its policies: what running and describing a model asks of it.
#pragma once

#include <fpf/kernel/step_layout.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/operations.hpp>
#include <fpf/model/taps.hpp>
#include <fpf/parallel/parallelism.hpp>

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

  /// A cache for `batch` sequences of up to `capacity` positions.
  virtual KvCache make_cache(std::int64_t batch, std::int64_t capacity) const = 0;
  /// tokens [batch, count] int64, at the positions after the cache's -> logits [batch, logits_for, vocab] of
  /// the last `logits_for` of them, in the activations' dtype. Signals of the layers that `taps` wants go
  /// there on the way.
  virtual at::Tensor forward(const at::Tensor& tokens, KvCache& cache, std::int64_t logits_for, Taps* taps) = 0;

  /// Which kernels forward() uses.
  virtual OperationTable operations() const = 0;

  /// Whether element-wise chains are fused (the compiled execution).
  virtual bool is_fused() const = 0;
  /// How the decode step attends. Throws Error for an attention policy that has no kernels there.
  virtual kernel::AttentionForm decode_attention() const = 0;
  /// Where the decode step's kernels find weights and cache; on a GPU only.
  virtual kernel::ModelWeights gpu_weights(const KvCache& cache) const = 0;

  bool on_gpu() const { return device().is_cuda(); }
};

}  // namespace fpf::model
