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
    const std::int64_t length = cache_.length() + count_;
    at::Tensor attended = at::empty({batch_, count_, heads, d}, at::kFloat);
    portable::attend(qkv.narrow(2, 0, heads).contiguous(), cache_.keys(index, length), cache_.values(index, length),
                     static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))), attended);
    return attended.view({batch_ * count_, heads * d});
  }

  at::Tensor project(std::size_t i, const at::Tensor& attended) const {
    return sum_ranks(layer(i).o(attended), shard_.heads.size() < config_.num_heads);
  }

  at::Tensor feed_forward(std::size_t i, Normed n) {
    const at::Tensor x = normed(x_, *n.weight);
    if (config_.is_moe()) return experts(layer(i), static_cast<std::int64_t>(i), x);
    return sum_ranks(layer(i).mlps.front()(portable::row_pointers(x.const_data_ptr<float>(), x.size(0), x.size(1))),
                     shard_.mlp.size() < config_.intermediate_size);
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

  /// The ranks' tensors as a tree over neighbours; `own` where each rank has the whole.
  at::Tensor sum_ranks(const at::Tensor& own, bool divided) const {
    return divided ? tree_of_ranks(decoder_.collectives().communicator(), own) : own;
  }
  static at::Tensor tree_of_ranks(parallel::Communicator* communicator, const at::Tensor& own) {
    if (communicator == nullptr) return own;
    std::vector<std::int64_t> shape = own.sizes().vec();
    shape.insert(shape.begin(), communicator->size());
    const at::Tensor all = at::empty(shape, own.options());
    communicator->all_gather(own.contiguous(), all);
    portable::add_segment_rows(all.data_ptr<float>(), all.size(0), own.numel());
    return all.select(0, 0);
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

  /// Every chosen expert's output on its own, also over ranks; weighted and added up in the order of the experts.
  at::Tensor experts(const PortableLayer& layer, std::int64_t index, const at::Tensor& x) {
    const std::int64_t rows = x.size(0), k = config_.experts_per_token, hidden = config_.hidden_size;
    const execution::Routing routing = portable::route(layer.router(x), k, config_.norm_topk_prob);
    if (wants(index)) routing_ = routing;
    const auto* const ids = routing.expert_ids.const_data_ptr<std::int64_t>();
    std::vector<std::vector<std::int64_t>> slots(static_cast<std::size_t>(config_.num_experts));  // row * k + choice
    for (std::int64_t slot = 0; slot < rows * k; ++slot) slots[static_cast<std::size_t>(ids[slot])].push_back(slot);
    at::Tensor outputs = at::zeros({rows * k, hidden}, at::kFloat);
    for (std::size_t local = 0; local < layer.mlps.size(); ++local) {
      const auto& own = slots[static_cast<std::size_t>(shard_.experts[local])];
      if (own.empty()) continue;
      portable::RowPointers inputs;
      for (const std::int64_t slot : own) inputs.push_back(x.const_data_ptr<float>() + slot / k * hidden);
      const at::Tensor y = layer.mlps[local](inputs);
      for (std::size_t i = 0; i < own.size(); ++i)
        std::copy_n(y.const_data_ptr<float>() + static_cast<std::int64_t>(i) * hidden, hidden,
                    outputs.data_ptr<float>() + own[i] * hidden);
    }
    const bool divided =
        shard_.expert_mlp.size() < config_.moe_intermediate_size || std::ssize(shard_.experts) < config_.num_experts;
    const at::Tensor all = sum_ranks(outputs, divided);
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
  portable::RopeTable rope_;
  at::Tensor x_;                // the residual stream [batch * count, hidden]
  execution::Routing routing_;  // of the layer at hand, where it is wanted
};

/// Activations are float32 throughout; weights that are not quantised, the cache and the recorded hidden states are in
/// the dtype that is asked for. Bits do not depend on how many tokens a pass has.
class PortableCpuDecoder final : public Decoder {
 public:
  static constexpr model::Block carries{.qk_norm = true, .experts = true, .qkv_bias = true};

  /// Loads the rank's shard. Throws Error, by name, for tensors that are missing or misshapen, and for ranks that would
  /// cut a reduction where the definition does not.
  PortableCpuDecoder(const Numerics& numerics, const model::Checkpoint& checkpoint, parallel::Rank rank,
                     at::ScalarType dtype)
      : Decoder(checkpoint.config(), std::move(rank), dtype, at::kCPU), scheme_(numerics.quantisation) {
    require_whole_segments("attention's output", config().q_size(), shard().heads.size() * config().head_dim);
    if (config().is_moe())
      require_whole_segments("an expert's down projection", config().moe_intermediate_size, shard().expert_mlp.size());
    else
      require_whole_segments("the MLP's down projection", config().intermediate_size, shard().mlp.size());
    const quant::Loader loader{checkpoint.source(), config().quantization, dtype, at::kCPU, /*keeps_values=*/true};
    weights_.emplace(
        loader, scheme_, checkpoint, shard(), [&](const model::Layer& layer) { return PortableLayer(layer, config()); },
        [&](const model::Linear& head) { return PortableLinear(head, config().hidden_size); });
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
  /// Ranks' sums are whole parts of the definition's tree where each has a power of two of its segments.
  void require_whole_segments(std::string_view what, std::int64_t whole, std::int64_t own) const {
    if (own == whole) return;
    const std::int64_t columns = portable::segment_columns(whole), each = own / columns;
    if (own % columns != 0 || whole % own != 0 || (each & (each - 1)) != 0)
      fail(
          "--execution portable: {} adds up {} products in segments of {}, and {} ranks would have {} each: expected a "
          "whole power of two of segments",
          what, whole, columns, ranks(), own);
  }

  const quant::Scheme& scheme_;
  std::optional<PortableWords::Weights> weights_;
};

}  // namespace fpf::engine
