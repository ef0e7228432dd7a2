// The forward pass of the portable execution on a CPU, in the order that execution/PORTABLE.md writes down.
#pragma once

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <fpf/engine/decoder.hpp>
#include <fpf/engine/named_pass.hpp>
#include <fpf/engine/numerics.hpp>
#include <fpf/engine/portable_weights.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/model/rope.hpp>
#include <fpf/portable/attention.hpp>
#include <fpf/portable/integer_attention.hpp>
#include <fpf/portable/route.hpp>
#include <optional>

namespace fpf::engine {

/// The names of a pass all of whose operations are the definition's, carried out by `by`.
inline PassNames portable_names(const quant::Scheme& scheme, at::ScalarType dtype, const std::string& by) {
  const auto product = [by](const model::StoredForm&) { return by; };
  return {
      .embedding = by,
      .norm = by,
      .head_norm_rope = by,
      .attention = by,
      .route = by,
      .silu_mul = by,
      .experts_sum = by,
      .log_probs = by,
      .experts = product,
      .router = [&scheme, dtype, by](const model::StoredForm& form) { return product_text(scheme, form, dtype, by); },
      .product = product};
}

/// Models of 16 bits multiply integers; float32 ones add up floats, as routers and heads always do.
inline portable::Arithmetic portable_arithmetic(at::ScalarType dtype) {
  return dtype == at::kFloat ? portable::Arithmetic::chains : portable::Arithmetic::integers;
}

/// The words of one pass over tokens [batch, count]. Handles are float32 [batch * count, features]; a norm is computed
/// where it is needed.
class PortableWords {
 public:
  using Weights = model::Weights<PortableLayer, PortableLinear>;

  PortableWords(const Decoder& decoder, const Weights& weights, const at::Tensor& tokens, model::KvCache& cache,
                std::int64_t logits_for, model::Taps* taps)
      : decoder_(decoder),
        config_(decoder.config()),
        shard_(decoder.shard()),
        weights_(weights),
        tokens_(tokens),
        cache_(cache),
        logits_for_(logits_for),
        taps_(taps),
        batch_(tokens.size(0)),
        count_(tokens.size(1)),
        arithmetic_(portable_arithmetic(decoder.dtype())),
        rope_(cache.length(), count_, model::exact_inverse_frequencies(config_)) {}

  struct Normed {
    const at::Tensor* weight;
  };

  const Weights& weights() const { return weights_; }
  void embed() { x_ = at::embedding(weights_.embedding, tokens_.flatten()).to(at::kFloat); }
  Normed norm(const at::Tensor& weight) const { return {&weight}; }
  Normed add_norm(const at::Tensor& delta, const at::Tensor& weight) {
    x_.add_(delta);
    return norm(weight);
  }

  at::Tensor qkv(std::size_t i, Normed n) const { return layer(i).qkv(normed(x_, *n.weight)); }

  at::Tensor attend(std::size_t i, const at::Tensor& joined) const {
    const auto index = static_cast<std::int64_t>(i);
    const std::int64_t heads = shard_.heads.size(), kv_heads = shard_.kv_heads.size(), d = config_.head_dim;
    at::Tensor qkv = joined.view({batch_, count_, heads + 2 * kv_heads, d});
    rotate(qkv, 0, heads, layer(i).q_norm);
    rotate(qkv, heads, kv_heads, layer(i).k_norm);
    const at::Tensor kept = portable::narrowed(qkv.narrow(2, heads, 2 * kv_heads), decoder_.dtype()).transpose(1, 2);
    cache_.append(index, kept.narrow(1, 0, kv_heads), kept.narrow(1, kv_heads, kv_heads));
    at::Tensor attended = at::empty({batch_, count_, heads, d}, at::kFloat);
    const at::Tensor queries = qkv.narrow(2, 0, heads).contiguous();
    if (arithmetic_ == portable::Arithmetic::chains) {
      attention<portable::CacheFloats>(index, queries, kept, attended);
    } else {
      attention<portable::CacheSlices>(index, queries, kept, attended);
    }
    return gathered(attended.view({batch_ * count_, heads * d}), ranks().parts().attended);
  }

  at::Tensor project(std::size_t i, const at::Tensor& attended) const {
    return gathered(layer(i).o(attended), ranks().parts().hidden);
  }

  at::Tensor feed_forward(std::size_t i, Normed n) {
    const at::Tensor x = normed(x_, *n.weight);
    if (config_.is_moe()) return experts(layer(i), static_cast<std::int64_t>(i), x);
    const PortableMlp& mlp = layer(i).mlps.front();
    const portable::Inputs inputs(x.const_data_ptr<float>(), x.size(0), x.size(1));
    return gathered(mlp.down(gathered(mlp.activate(inputs), ranks().parts().mlp)), ranks().parts().hidden);
  }

  void show(std::size_t i) const {
    const auto index = static_cast<std::int64_t>(i);
    if (wants(index))
      show_layer(*taps_, index, cache_, decoder_.collectives(), config_.num_kv_heads,
                 config_.is_moe() ? &routing_ : nullptr,
                 portable::narrowed(x_, decoder_.dtype()).view({batch_, count_, -1}));
  }

  at::Tensor head(Normed n) const {
    const at::Tensor last = x_.view({batch_, count_, -1}).narrow(1, count_ - logits_for_, logits_for_).flatten(0, 1);
    return decoder_.collectives().gather_logits(weights_.head(normed(last, *n.weight)).view({batch_, logits_for_, -1}));
  }

 private:
  const PortableLayer& layer(std::size_t i) const { return weights_.layers[i]; }
  bool wants(std::int64_t layer) const { return taps_ != nullptr && taps_->wants(layer); }
  float eps() const { return static_cast<float>(config_.rms_norm_eps); }

  at::Tensor normed(const at::Tensor& x, const at::Tensor& weight) const {
    const at::Tensor in = x.contiguous();
    const std::int64_t n = in.size(1);
    at::Tensor out = at::empty_like(in);
    at::parallel_for(0, in.size(0), std::max<std::int64_t>(1, 16384 / n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        portable::loops().norm(in.const_data_ptr<float>() + r * n, weight.const_data_ptr<float>(), eps(), n,
                               out.data_ptr<float>() + r * n);
    });
    return out;
  }

  const parallel::Collectives& ranks() const { return decoder_.collectives(); }
  /// The ranks' columns of [rows, columns] one after another; `own` where each has all of them.
  at::Tensor gathered(const at::Tensor& own, const std::vector<Range>& parts) const {
    return ranks().gather_parts(own, 1, parts).contiguous();
  }

  /// Attention of queries [batch, count, heads, d] over the cache; `kept` [batch, kv heads, count, d] twice, the pass's
  /// own keys and values as the cache has them, is in it.
  template <class Copies>
  void attention(std::int64_t layer, const at::Tensor& queries, const at::Tensor& kept, at::Tensor& attended) const {
    const std::int64_t kv_heads = shard_.kv_heads.size(), d = config_.head_dim;
    Copies& copies =
        cache_.beside<Copies>([&] { return Copies(config_.num_layers, batch_ * kv_heads, cache_.capacity(), d); });
    copies.put(layer, cache_.length(), kept.narrow(1, 0, kv_heads), kept.narrow(1, kv_heads, kv_heads));
    const std::int64_t group = config_.num_heads / config_.num_kv_heads;
    const portable::HeadsOfKv shares{group, shard_.heads.begin - shard_.kv_heads.begin * group, shard_.heads.size()};
    portable::attend(queries, copies, layer, shares, cache_.length(), attended);
  }

  /// heads [batch, count, heads, d], a part of `qkv`'s rows: norm and RoPE in place.
  void rotate(at::Tensor& qkv, std::int64_t first, std::int64_t heads, const at::Tensor& weight) const {
    const std::int64_t count = qkv.size(1), all = qkv.size(2), d = qkv.size(3), rows = qkv.size(0) * count;
    const portable::Loops& loop = portable::loops();
    at::parallel_for(0, rows, std::max<std::int64_t>(1, 16384 / (heads * d)),
                     [&](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t r = begin; r < end; ++r)
                         for (std::int64_t h = first; h < first + heads; ++h) {
                           float* const head = qkv.data_ptr<float>() + (r * all + h) * d;
                           if (weight.defined()) loop.norm(head, weight.const_data_ptr<float>(), eps(), d, head);
                           const auto at = static_cast<std::size_t>(r % count * (d / 2));
                           loop.rotate(head, rope_.cos.data() + at, rope_.sin.data() + at, d / 2);
                         }
                     });
  }

  using Slots = std::vector<std::vector<std::int64_t>>;  // of each expert: row * k + choice

  /// [rows * k, hidden] every chosen expert's output, on every rank. Where experts are cut, their parts are exchanged
  /// once between the projections and once after; where ranks hold experts of their own, others' are zeros to be added.
  at::Tensor whole_outputs(const PortableLayer& layer, const at::Tensor& x, std::int64_t k, const Slots& slots) const {
    const std::int64_t chosen = x.size(0) * k;
    const portable::Inputs inputs(x.const_data_ptr<float>(), x.size(0), x.size(1));
    const auto each = [&](auto f) {
      for (std::size_t local = 0; local < layer.mlps.size(); ++local)
        if (const auto& own = slots[static_cast<std::size_t>(shard_.experts[local])]; !own.empty())
          f(layer.mlps[local], own);
    };
    const auto put = [](const at::Tensor& from, const std::vector<std::int64_t>& own, at::Tensor& to) {
      const std::int64_t width = from.size(1);
      for (std::size_t i = 0; i < own.size(); ++i)
        std::copy_n(from.const_data_ptr<float>() + static_cast<std::int64_t>(i) * width, width,
                    to.data_ptr<float>() + own[i] * width);
    };
    at::Tensor activated = at::zeros({chosen, shard_.expert_mlp.size()}, at::kFloat);
    each([&](const PortableMlp& mlp, const std::vector<std::int64_t>& own) {
      std::vector<std::int64_t> of;
      for (const std::int64_t slot : own) of.push_back(slot / k);
      put(mlp.activate(portable::Inputs(inputs, std::move(of))), own, activated);
    });
    activated = gathered(activated, ranks().parts().mlp);
    const portable::Inputs wide(activated.const_data_ptr<float>(), chosen, activated.size(1));
    at::Tensor outputs = at::zeros({chosen, shard_.hidden.size()}, at::kFloat);
    each([&](const PortableMlp& mlp, const std::vector<std::int64_t>& own) {
      put(mlp.down(portable::Inputs(wide, own)), own, outputs);
    });
    if (std::ssize(shard_.experts) < config_.num_experts) ranks().communicator()->all_reduce(outputs);
    return gathered(outputs, ranks().parts().hidden);
  }

  /// Every chosen expert's output on its own, also over ranks; weighted and added up in the order of the experts.
  at::Tensor experts(const PortableLayer& layer, std::int64_t index, const at::Tensor& x) {
    const std::int64_t rows = x.size(0), k = config_.experts_per_token, hidden = config_.hidden_size;
    const execution::Routing routing = portable::route(layer.router(x), k, config_.norm_topk_prob);
    if (wants(index)) routing_ = routing;
    const auto* const ids = routing.expert_ids.const_data_ptr<std::int64_t>();
    Slots slots(static_cast<std::size_t>(config_.num_experts));
    for (std::int64_t slot = 0; slot < rows * k; ++slot) slots[static_cast<std::size_t>(ids[slot])].push_back(slot);
    const at::Tensor all = whole_outputs(layer, x, k, slots);
    at::Tensor out = at::zeros({rows, hidden}, at::kFloat);
    const portable::Loops& loop = portable::loops();
    for (const auto& expert : slots)
      for (const std::int64_t slot : expert)
        loop.add_scaled(out.data_ptr<float>() + slot / k * hidden, all.const_data_ptr<float>() + slot * hidden,
                        routing.weights.const_data_ptr<float>()[slot], hidden);
    return out;
  }

  const Decoder& decoder_;
  const model::ModelConfig& config_;
  const parallel::Shard& shard_;
  const Weights& weights_;
  const at::Tensor& tokens_;
  model::KvCache& cache_;
  std::int64_t logits_for_;
  model::Taps* taps_;
  std::int64_t batch_, count_;
  portable::Arithmetic arithmetic_;
  portable::RopeTable rope_;
  at::Tensor x_;                // the residual stream [batch * count, hidden]
  execution::Routing routing_;  // of the layer at hand, where it is wanted
};

/// Activations are float32 throughout; weights that are not quantised, the cache and the recorded hidden states are in
/// the dtype that is asked for. Bits do not depend on how many tokens a pass has.
class PortableCpuDecoder final : public Decoder {
 public:
  static constexpr model::Block carries{.qk_norm = true, .experts = true, .qkv_bias = true};

  /// Loads the rank's shard. Throws Error, by name, for tensors that are missing or misshapen, and for heads of more
  /// dimensions than integers take.
  PortableCpuDecoder(const Numerics& numerics, const model::Checkpoint& checkpoint, parallel::Rank rank,
                     at::ScalarType dtype)
      : Decoder(checkpoint.config(), std::move(rank), dtype, at::kCPU), scheme_(numerics.quantisation) {
    if (portable_arithmetic(dtype) == portable::Arithmetic::integers && config().head_dim > portable::most_dimensions)
      fail(
          "--execution portable: heads of {} dimensions; sums of their products fit into 32 bits up to {}. --dtype "
          "float32 has no such bound",
          config().head_dim, portable::most_dimensions);
    const quant::Loader loader{checkpoint.source(), config().quantization, dtype, at::kCPU, /*keeps_values=*/true};
    weights_.emplace(
        loader, scheme_, checkpoint, shard(),
        [&](const model::Layer& layer) {
          return PortableLayer(layer, config().is_moe(), portable_arithmetic(dtype), dtype);
        },
        [&](const model::Linear& head) { return PortableLinear::of_values(head, dtype); });
    weights_->final_norm = weights_->final_norm.to(at::kFloat);
  }

  std::size_t weight_bytes() const override { return weights_->bytes(); }

  at::Tensor forward(const at::Tensor& tokens, model::KvCache& cache, std::int64_t logits_for,
                     model::Taps* taps) override {
    const c10::InferenceMode guard;
    PortableWords words(*this, *weights_, tokens, cache, logits_for, taps);
    at::Tensor logits = forward_pass(words);
    cache.advance(tokens.size(1));
    return logits;
  }

  execution::TopK log_probs(const at::Tensor& logits, std::int64_t k) const override {
    return portable::log_probs(logits, k);
  }

  OperationTable operations() const override {
    const PassNames names = portable_names(
        scheme_, dtype(), fmt::format("fpf portable {}, {}", portable::version, name_of(portable::instruction_set())));
    return NamedPass(*weights_, names, config().is_moe()).table();
  }

  std::unique_ptr<Step> make_step(kernel::StepConfig, const model::KvCache&, const kernel::Allocate&) const override {
    throw std::logic_error("a CPU has no decode step of its own");
  }
  bool captures_steps() const override { return false; }

 private:
  const quant::Scheme& scheme_;
  std::optional<PortableWords::Weights> weights_;
};

}  // namespace fpf::engine
