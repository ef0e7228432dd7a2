// A decoder in float64 by libtorch, for how far others are from it: one sequence in one pass, with the experts that
// another run chose.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <fpf/device/dtype.hpp>
#include <fpf/model/rope.hpp>
#include <fpf/model/taps.hpp>
#include <fpf/model/weights.hpp>
#include <optional>
#include <vector>

/// What every layer shows of a pass over one sequence, by token: hidden states and keys [tokens, width], and of a
/// mixture of experts the chosen ones [tokens, k].
struct Shown {
  std::vector<at::Tensor> hidden, keys, experts;
};

/// Takes it from any engine.
class ShownBy : public fpf::model::Taps {
 public:
  bool wants(std::int64_t) const override { return true; }
  void take(fpf::evidence::StoredSignal signal, std::int64_t, const std::vector<at::Tensor>& columns) override {
    using enum fpf::evidence::StoredSignal;
    const at::Tensor rows = columns.front()[0].flatten(1).clone();
    if (signal == hidden_states) shown.hidden.push_back(rows);
    if (signal == key_vectors) shown.keys.push_back(rows);
    if (signal == router) shown.experts.push_back(rows);
  }
  Shown shown;
};

class ExactModel {
 public:
  template <class Quant>
  static ExactModel load(const fpf::model::Checkpoint& checkpoint, fpf::DType dtype) {
    ExactModel out;
    const auto& c = out.config_ = checkpoint.config();
    const fpf::quant::Loader loader{checkpoint.source(), c.quantization, fpf::device::scalar_type(dtype), at::kCPU,
                                    /*keeps_values=*/true};
    out.embedding_ = wide(fpf::quant::load_dense(
        loader, fpf::quant::LinearSpec::whole("model.embed_tokens", c.vocab_size, c.hidden_size)));
    for (std::int64_t i = 0; i < c.num_layers; ++i) {
      const fpf::model::Layer layer(loader, fpf::quant::scheme<Quant>(), checkpoint, fpf::parallel::Shard::whole(c), i);
      const auto matrix = [](const auto& linear) { return wide(linear.dequantise(at::kFloat)); };
      const auto mlp = [&](const auto& m) { return Mlp{matrix(m.gate), matrix(m.up), matrix(m.down)}; };
      Layer& l = out.layers_.emplace_back();
      l.input_norm = wide(layer.input_norm);
      l.post_norm = wide(layer.post_norm);
      if (layer.q_norm.defined()) l.q_norm = wide(layer.q_norm), l.k_norm = wide(layer.k_norm);
      l.qkv = matrix(layer.qkv);
      if (layer.qkv.bias().defined()) l.bias = wide(layer.qkv.bias());
      l.o = matrix(layer.o);
      if (c.is_moe()) l.router = wide(layer.router.dequantise(fpf::device::scalar_type(dtype)));
      if (c.is_moe())
        for (const auto& expert : layer.experts) l.mlps.push_back(mlp(expert));
      else
        l.mlps.push_back(mlp(layer.mlp));
    }
    return out;
  }

  /// With the experts that `chosen` has of each layer. `kept`: the dtype that keys, values and what is shown are
  /// rounded to; without one they are not.
  Shown run(const std::vector<std::int32_t>& tokens, const std::vector<at::Tensor>& chosen,
            std::optional<at::ScalarType> kept = {}) const {
    const auto n = std::ssize(tokens), d = config_.head_dim, heads = config_.num_heads, kv_heads = config_.num_kv_heads;
    const auto rounded = [&](const at::Tensor& x) { return kept ? wide(x.to(*kept)) : x; };
    const at::Tensor angles = at::arange(n, at::kDouble).unsqueeze(1) *
                              at::tensor(fpf::model::exact_inverse_frequencies(config_), at::kDouble);
    const at::Tensor hides = at::full({n, n}, -INFINITY, at::kDouble).triu(1);
    Shown out;
    at::Tensor x =
        at::embedding(embedding_, at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end()), at::kLong));
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& l = layers_[i];
      at::Tensor qkv = at::linear(norm(x, l.input_norm), l.qkv);
      if (l.bias.defined()) qkv = qkv + l.bias;
      qkv = qkv.view({n, heads + 2 * kv_heads, d}).transpose(0, 1);
      const at::Tensor q = turned(qkv.narrow(0, 0, heads), l.q_norm, angles);
      const at::Tensor k = rounded(turned(qkv.narrow(0, heads, kv_heads), l.k_norm, angles));
      const at::Tensor v = rounded(qkv.narrow(0, heads + kv_heads, kv_heads));
      const auto each = heads / kv_heads;
      const at::Tensor scores =
          at::matmul(q, k.repeat_interleave(each, 0).transpose(1, 2)) / std::sqrt(double(d)) + hides;
      const at::Tensor attended = at::matmul(scores.softmax(-1), v.repeat_interleave(each, 0));
      x = x + at::linear(attended.transpose(0, 1).reshape({n, heads * d}), l.o);
      const at::Tensor normed = norm(x, l.post_norm);
      x = x + (config_.is_moe() ? experts(l, normed, chosen[i]) : through(l.mlps.front(), normed));
      out.keys.push_back(k.transpose(0, 1).reshape({n, kv_heads * d}));
      out.hidden.push_back(rounded(x));
    }
    return out;
  }

 private:
  struct Mlp {
    at::Tensor gate, up, down;
  };
  struct Layer {
    at::Tensor input_norm, post_norm, q_norm, k_norm, qkv, bias, o, router;
    std::vector<Mlp> mlps;
  };

  static at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return x * at::rsqrt(x.square().mean(-1, true) + config_.rms_norm_eps) * weight;
  }

  /// Heads [heads, tokens, d], normalised where the model does that, at their positions' angles.
  at::Tensor turned(const at::Tensor& head, const at::Tensor& weight, const at::Tensor& angles) const {
    const at::Tensor x = weight.defined() ? norm(head, weight) : head;
    const at::Tensor a = x.narrow(-1, 0, x.size(-1) / 2), b = x.narrow(-1, x.size(-1) / 2, x.size(-1) / 2);
    const at::Tensor cos = angles.cos(), sin = angles.sin();
    return at::cat({a * cos - b * sin, b * cos + a * sin}, -1);
  }

  static at::Tensor through(const Mlp& mlp, const at::Tensor& x) {
    return at::linear(at::silu(at::linear(x, mlp.gate)) * at::linear(x, mlp.up), mlp.down);
  }

  at::Tensor experts(const Layer& l, const at::Tensor& x, const at::Tensor& chosen) const {
    const at::Tensor logits = at::linear(x, l.router), ids = chosen.to(at::kLong);
    const at::Tensor weights =
        config_.norm_topk_prob ? logits.gather(1, ids).softmax(-1) : logits.softmax(-1).gather(1, ids);
    at::Tensor out = at::zeros_like(x);
    for (std::size_t e = 0; e < l.mlps.size(); ++e) {
      const at::Tensor own = ids.eq(static_cast<std::int64_t>(e)).nonzero();  // [slots, (token, place)]
      if (own.size(0) == 0) continue;
      const at::Tensor token = own.select(1, 0);
      const at::Tensor weight = weights.flatten().index_select(0, token * ids.size(1) + own.select(1, 1));
      out.index_add_(0, token, through(l.mlps[e], x.index_select(0, token)) * weight.unsqueeze(1));
    }
    return out;
  }

  fpf::model::ModelConfig config_;
  at::Tensor embedding_;
  std::vector<Layer> layers_;
};
