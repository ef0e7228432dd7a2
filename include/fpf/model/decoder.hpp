// The forward pass of a decoder-only transformer by libtorch's operators; the policies are what its words call.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <fpf/execution/words.hpp>
#include <fpf/model/any_decoder.hpp>
#include <fpf/model/gpu_attention.hpp>
#include <fpf/model/gpu_weights.hpp>
#include <fpf/model/grouped_experts.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/layer.hpp>
#include <fpf/model/numerics.hpp>
#include <fpf/model/portable_decoder.hpp>
#include <fpf/model/taps.hpp>
#include <fpf/parallel/rank.hpp>
#include <memory>

namespace fpf::model {

/// One rank's decoder. Prefill and decode are the same function over many tokens or one.
class Decoder final : public AnyDecoder {
 public:
  /// Loads the rank's shard in `dtype`. Throws Error, by name, for tensors that are missing or misshapen, and for policies
  /// that the device would not carry out.
  Decoder(const Numerics& numerics, const Checkpoint& checkpoint, parallel::Rank rank, at::ScalarType dtype,
          at::Device device)
      : numerics_(numerics),
        words_(numerics.execution),
        config_(checkpoint.config()),
        rank_(std::move(rank)),
        options_(at::TensorOptions(dtype).device(device)) {
    require_carried_out(numerics, device.type());
    const c10::InferenceMode guard;
    const quant::Loader loader{checkpoint.source(), config_.quantization, dtype, device};
    embedding_ = quant::load_dense(
        loader, quant::LinearSpec::whole("model.embed_tokens", config_.vocab_size, config_.hidden_size));
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer)
      layers_.emplace_back(loader, numerics.quantisation, checkpoint, rank_.shard, layer);
    if (device.is_cuda()) prepare_gpu();
    final_norm_ = quant::load_vector(loader, "model.norm.weight", config_.hidden_size);
    const Range vocabulary = rank_.shard.vocabulary;
    head_ = config_.tied_head
                ? Linear(embedding_.narrow(0, vocabulary.begin, vocabulary.size()))
                : Linear(loader, numerics.quantisation,
                         quant::LinearSpec{
                             "lm_head", config_.vocab_size, config_.hidden_size, vocabulary, {0, config_.hidden_size}});
    for (const auto& layer : layers_) forms_.add(layer);
    forms_.head = head_.form();
  }

  const ModelConfig& config() const override { return config_; }
  at::ScalarType dtype() const override { return c10::typeMetaToScalarType(options_.dtype()); }
  at::Device device() const override { return options_.device(); }
  const parallel::Shard& shard() const override { return rank_.shard; }
  int rank() const override { return rank_.rank; }
  int ranks() const override { return rank_.size; }
  const parallel::Collectives& collectives() const override { return rank_.collectives; }
  OperationTable operations() const override {
    return forward_operations(numerics_, config_, forms_, device(), dtype(), groups_products(dtype(), hopper_));
  }
  kernel::AttentionForm decode_attention() const override {
    return numerics_.attention.decode_form.value();  // on a GPU the constructor refuses one without
  }
  bool is_fused() const override { return numerics_.execution.fused; }

  KvCache make_cache(std::int64_t batch, std::int64_t positions) const override {
    const c10::InferenceMode guard;
    return {config_.num_layers, batch, rank_.shard.kv_heads.size(), positions, config_.head_dim, options_};
  }

  std::size_t weight_bytes() const override {
    std::size_t total = embedding_.nbytes() + final_norm_.nbytes() + (config_.tied_head ? 0 : head_.bytes());
    for (const auto& layer : layers_) total += layer.bytes();
    return total;
  }

  kernel::ModelWeights gpu_weights(const KvCache& cache) const override {
    kernel::ModelWeights out;
    for (std::size_t i = 0; i < layers_.size(); ++i)
      out.layers.push_back(layer_weights(layers_[i], cache.view(static_cast<std::int64_t>(i))));
    out.embedding = embedding_.const_data_ptr();
    out.final_norm = final_norm_.const_data_ptr();
    out.head = head_.packed().matrix();
    out.cos = gpu_rope_.cos.const_data_ptr<float>();
    out.sin = gpu_rope_.sin.const_data_ptr<float>();
    return out;
  }

  at::Tensor forward(const at::Tensor& tokens, KvCache& cache, std::int64_t logits_for, Taps* taps) override {
    const c10::InferenceMode guard;
    const std::int64_t count = tokens.size(1);
    const execution::RopeTable rope = rope_table(cache.length(), count);
    at::Tensor x = at::embedding(embedding_, tokens);  // [batch, count, hidden]
    at::Tensor normed = words_.norm(x, layers_.front().input_norm, config_.rms_norm_eps);
    for (std::int64_t index = 0; index < config_.num_layers; ++index) {
      const Layer& layer = layers_[static_cast<std::size_t>(index)];
      Taps* const tap = taps != nullptr && taps->wants(index) ? taps : nullptr;
      const at::Tensor attended = attention(layer, index, normed, rope, cache, tap);
      normed = words_.add_norm(x, attended, layer.post_norm, config_.rms_norm_eps);
      const at::Tensor fed = config_.is_moe() ? sparse_mlp(layer, index, normed, tap) : dense_mlp(layer.mlp, normed);
      const bool last = index + 1 == config_.num_layers;
      const at::Tensor& next_norm = last ? final_norm_ : layers_[static_cast<std::size_t>(index) + 1].input_norm;
      normed = words_.add_norm(x, rank_.collectives.sum_mlp(fed), next_norm, config_.rms_norm_eps);
      if (tap != nullptr) tap->hidden(index, x);
    }
    cache.advance(count);
    return rank_.collectives.gather_logits(head_(normed.narrow(1, count - logits_for, logits_for)));
  }

 private:
  /// cos and sin of the angles position / theta^(2i / head_dim), in float32, rounded once (transformers'
  /// default RoPE).
  execution::RopeTable rope_table(std::int64_t begin, std::int64_t count) const {
    const auto wide = options_.dtype(at::kFloat);
    const at::Tensor exponents = at::arange(0, config_.head_dim, 2, wide) / static_cast<double>(config_.head_dim);
    const at::Tensor inverse = at::pow(at::Scalar(config_.rope_theta), exponents).reciprocal();
    const at::Tensor angles = at::outer(at::arange(begin, begin + count, wide), inverse);
    const at::Tensor both = at::cat({angles, angles}, -1);
    return {both.cos().to(dtype()), both.sin().to(dtype())};
  }

  at::Tensor attention(const Layer& layer, std::int64_t index, const at::Tensor& x, const execution::RopeTable& rope,
                       KvCache& cache, Taps* tap) {
    const std::int64_t batch = x.size(0), count = x.size(1), d = config_.head_dim;
    const double eps = config_.rms_norm_eps;
    const std::int64_t heads = rank_.shard.heads.size(), kv_heads = rank_.shard.kv_heads.size();
    const at::Tensor qkv = layer.qkv(x).view({batch, count, heads + 2 * kv_heads, d});
    const std::int64_t length = cache.length() + count;
    at::Tensor q;
    if (on_gpu()) {
      q = rope_append(qkv, heads, {layer.q_norm, layer.k_norm, eps}, gpu_rope_, cache, index);
    } else {
      q = words_.head_norm_rope(qkv.narrow(2, 0, heads), layer.q_norm, eps, rope);
      const at::Tensor k = words_.head_norm_rope(qkv.narrow(2, heads, kv_heads), layer.k_norm, eps, rope);
      cache.append(index, k, qkv.narrow(2, heads + kv_heads, kv_heads).transpose(1, 2));
    }
    if (tap != nullptr)
      tap->key(index, rank_.collectives.gather_keys(cache.keys(index, length).narrow(2, cache.length(), count),
                                                    config_.num_kv_heads));
    const at::Tensor attended = numerics_.attention.attend(q, cache.keys(index, length), cache.values(index, length),
                                                           1.0 / std::sqrt(static_cast<double>(d)));
    return rank_.collectives.sum_attention(layer.o(attended.reshape({batch, count, -1})));
  }

  at::Tensor dense_mlp(const Mlp& mlp, const at::Tensor& x) const {
    return mlp.down(words_.silu_mul(mlp.gate(x), mlp.up(x)));
  }

  /// The chosen experts' outputs, weighted and summed in the order of the experts (transformers'
  /// Qwen3MoeSparseMoeBlock).
  at::Tensor sparse_mlp(const Layer& layer, std::int64_t index, const at::Tensor& x, Taps* tap) const {
    const at::Tensor rows = x.reshape({-1, config_.hidden_size});
    const execution::Routing routing =
        words_.route(layer.router(rows), config_.experts_per_token, config_.norm_topk_prob);
    if (tap != nullptr) tap->router(index, routing);
    if (on_gpu()) return grouped_experts(layer, rows, routing, hopper_).view(x.sizes());
    at::Tensor out = at::zeros_like(rows);
    const at::Tensor flat_weights = routing.weights.reshape({-1});
    for (std::size_t local = 0; local < layer.experts.size(); ++local) {
      const at::Tensor slots = routing.expert_ids.eq(rank_.shard.experts[local]).view({-1}).nonzero().view({-1});
      if (slots.size(0) == 0) continue;
      const at::Tensor at_rows = slots.div(config_.experts_per_token, "floor");
      const at::Tensor y = dense_mlp(layer.experts[local], rows.index_select(0, at_rows));
      out.index_add_(0, at_rows, y * flat_weights.index_select(0, slots).unsqueeze(1));
    }
    return out.view(x.sizes());
  }

  /// RoPE's table for all positions and what the card can do.
  void prepare_gpu() {
    const execution::RopeTable table = rope_table(0, config_.max_positions);
    const auto half = [&](const at::Tensor& t) {
      return t.narrow(1, 0, config_.head_dim / 2).to(at::kFloat).contiguous();
    };
    gpu_rope_ = {half(table.cos), half(table.sin)};
    hopper_ = device::kernels(options_.device()).device().compute_capability >= 90;
  }

  Numerics numerics_;
  execution::Words words_;
  ModelConfig config_;
  parallel::Rank rank_;
  at::TensorOptions options_;
  at::Tensor embedding_;  // [vocab, hidden]
  std::vector<Layer> layers_;
  at::Tensor final_norm_;  // [hidden]
  GpuRope gpu_rope_;
  bool hopper_ = false;
  Linear head_;  // [own vocabulary, hidden]
  StoredForms forms_;
};

/// Makes a rank's decoder. All of a decoder's code hangs on this one function, which is not inline: `extern template struct
/// DecoderFactory<>` leaves it to another object file.
template <class = void>
struct DecoderFactory {
  static std::unique_ptr<AnyDecoder> make(const Numerics& numerics, const Checkpoint& checkpoint, parallel::Rank rank,
                                          at::ScalarType dtype, at::Device device);
};

template <class T>
std::unique_ptr<AnyDecoder> DecoderFactory<T>::make(const Numerics& numerics, const Checkpoint& checkpoint,
                                                    parallel::Rank rank, at::ScalarType dtype, at::Device device) {
  if (numerics.execution.portable)
    return std::make_unique<PortableDecoder>(numerics, checkpoint, std::move(rank), dtype, device);
  return std::make_unique<Decoder>(numerics, checkpoint, std::move(rank), dtype, device);
}

/// The same for policies as types.
template <quant::QuantScheme Quant, attention::AttentionKernel Attention, execution::Execution Execution>
std::unique_ptr<AnyDecoder> make_decoder(const Checkpoint& checkpoint, parallel::Rank rank, at::ScalarType dtype,
                                         at::Device device) {
  const Numerics numerics{quant::scheme<Quant>(), attention::kernel<Attention>(), execution::policy<Execution>()};
  return DecoderFactory<>::make(numerics, checkpoint, std::move(rank), dtype, device);
}

}  // namespace fpf::model
