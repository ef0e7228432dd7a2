// A rank's partial results made whole: where a forward pass speaks to the other ranks.
#pragma once

#include <ATen/ops/empty.h>

#include <fpf/parallel/communicator.hpp>
#include <utility>
#include <vector>

namespace fpf::parallel {

/// Which of a rank's results are only a part of the model's.
struct Partial {
  bool attention = false;   // the attention projection's output is a summand
  bool mlp = false;         // the MLP's or the experts' output is a summand
  bool kv_heads = false;    // it computes some of the key-value heads
  bool vocabulary = false;  // it computes some of the logits
};

/// The words of a forward pass that concern the other ranks. For a rank that is alone they are the identity.
class Collectives {
 public:
  Collectives() = default;
  /// `communicator` may be null, and must outlive this otherwise.
  Collectives(Communicator* communicator, Partial partial) : communicator_(communicator) {
    if (communicator != nullptr && communicator->size() > 1) partial_ = partial;
  }

  const Partial& partial() const { return partial_; }
  Communicator* communicator() const { return communicator_; }

  /// [..., hidden] partial outputs of the attention projection become their sum, on every rank.
  at::Tensor sum_attention(at::Tensor t) const {
    if (partial_.attention) communicator_->all_reduce(t);
    return t;
  }
  /// Likewise after the MLP or the experts.
  at::Tensor sum_mlp(at::Tensor t) const {
    if (partial_.mlp) communicator_->all_reduce(t);
    return t;
  }
  /// [batch, own kv heads, tokens, head_dim] -> all `kv_heads` of the model, each once.
  at::Tensor gather_keys(const at::Tensor& k, std::int64_t kv_heads) const {
    if (!partial_.kv_heads) return k;
    const at::Tensor all = gather(k, 1);
    const std::int64_t copies = all.size(1) / kv_heads;
    return copies == 1 ? all : all.slice(1, 0, all.size(1), copies);
  }
  /// [..., own vocabulary] -> [..., vocabulary]
  at::Tensor gather_logits(const at::Tensor& t) const { return partial_.vocabulary ? gather(t, -1) : t; }

 private:
  /// The ranks' tensors one after another along `dim`.
  at::Tensor gather(const at::Tensor& t, std::int64_t dim) const {
    std::vector<std::int64_t> shape = t.sizes().vec();
    shape.insert(shape.begin(), communicator_->size());
    const at::Tensor all = at::empty(shape, t.options());
    communicator_->all_gather(t.contiguous(), all);
    const std::int64_t at = dim < 0 ? dim + t.dim() : dim;
    return all.movedim(0, at).flatten(at, at + 1);
  }

  Communicator* communicator_ = nullptr;
  Partial partial_{};
};

}  // namespace fpf::parallel
