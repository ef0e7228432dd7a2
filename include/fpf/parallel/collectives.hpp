// A rank's partial results made whole: where a forward pass speaks to the other ranks.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <fpf/core/range.hpp>
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

/// Which part each rank has of what is cut by outputs.
struct RankParts {
  std::vector<Range> attended;  // features of the attention's output, before its projection
  std::vector<Range> kv_heads, hidden, mlp, vocabulary;
};

/// The words of a forward pass that concern the other ranks. For a rank that is alone they are the identity.
class Collectives {
 public:
  Collectives() = default;
  /// `communicator` may be null, and must outlive this otherwise. `parts` where matrices are cut by their outputs.
  Collectives(Communicator* communicator, Partial partial, RankParts parts = {}) : communicator_(communicator) {
    if (communicator == nullptr || communicator->size() == 1) return;
    partial_ = partial;
    parts_ = std::move(parts);
  }

  const Partial& partial() const { return partial_; }
  /// What each rank has; empty where parts are even, or this rank is alone.
  const RankParts& parts() const { return parts_; }
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
    if (!parts_.kv_heads.empty()) return gather_parts(k, 1, parts_.kv_heads);
    const at::Tensor all = gather(k, 1);
    const std::int64_t copies = all.size(1) / kv_heads;
    return copies == 1 ? all : all.slice(1, 0, all.size(1), copies);
  }
  /// [..., own vocabulary] -> [..., vocabulary]
  at::Tensor gather_logits(const at::Tensor& t) const {
    if (!parts_.vocabulary.empty()) return gather_parts(t, -1, parts_.vocabulary);
    return partial_.vocabulary ? gather(t, -1) : t;
  }
  /// The ranks' parts of dimension `dim` become the whole; what two have, equally, is there once. Identity without
  /// parts.
  at::Tensor gather_parts(const at::Tensor& own, std::int64_t dim, const std::vector<Range>& parts) const {
    if (parts.empty()) return own;
    std::int64_t most = 0, covered = 0;
    for (const Range& part : parts) most = std::max(most, part.size());
    std::vector<std::int64_t> shape = own.sizes().vec();
    const std::int64_t at = dim < 0 ? dim + own.dim() : dim;
    shape[static_cast<std::size_t>(at)] = most;
    const at::Tensor padded = at::zeros(shape, own.options());
    padded.narrow(at, 0, own.size(at)).copy_(own);
    shape.insert(shape.begin(), communicator_->size());
    const at::Tensor all = at::empty(shape, own.options());
    communicator_->all_gather(padded, all);
    std::vector<at::Tensor> pieces;
    for (std::size_t r = 0; r < parts.size(); ++r) {
      const std::int64_t first = std::max(covered, parts[r].begin);
      if (first >= parts[r].end) continue;
      pieces.push_back(all[static_cast<std::int64_t>(r)].narrow(at, first - parts[r].begin, parts[r].end - first));
      covered = parts[r].end;
    }
    return at::cat(pieces, at);
  }

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
  RankParts parts_;
};

}  // namespace fpf::parallel
