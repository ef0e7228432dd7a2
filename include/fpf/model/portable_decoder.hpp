// The decoder of the portable execution, in the order that execution/PORTABLE.md writes down. On a CPU the pass is here, on
// a GPU in portable_gpu.hpp.
#pragma once

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <fpf/execution/portable.hpp>
#include <fpf/model/any_decoder.hpp>
#include <fpf/model/gpu_attention.hpp>
#include <fpf/model/gpu_weights.hpp>
#include <fpf/model/numerics.hpp>
#include <fpf/model/portable_gpu.hpp>
#include <fpf/model/portable_layer.hpp>
#include <fpf/parallel/rank.hpp>
#include <fpf/portable/attention.hpp>
#include <fpf/portable/rope.hpp>
#include <fpf/portable/route.hpp>

namespace fpf::model {

/// Activations are float32 throughout; weights that are not quantised, the cache and the recorded hidden states are in the
/// dtype that is asked for. Bits do not depend on how many tokens a pass has.
class PortableDecoder final : public AnyDecoder {
 public:
  /// Loads the rank's shard. Throws Error, by name, for tensors that are missing or misshapen, and for ranks that would
  /// cut a reduction where the definition does not.
  PortableDecoder(const Numerics& numerics, const Checkpoint& checkpoint, parallel::Rank rank, at::ScalarType dtype,
                  at::Device device)
      : scheme_(numerics.quantisation),
        config_(checkpoint.config()),
        rank_(std::move(rank)),
        options_(at::TensorOptions(dtype).device(device)) {
    require_carried_out(numerics, device.type());
    const c10::InferenceMode guard;
    if (device.is_cuda() && rank_.size > 1)
      fail("--execution portable divides a model over ranks on the CPU (--device cpu) only");
    require_whole_segments("attention's output", config_.q_size(), rank_.shard.heads.size() * config_.head_dim);
    if (config_.is_moe())
      require_whole_segments("an expert's down projection", config_.moe_intermediate_size,
                             rank_.shard.expert_mlp.size());
    else
      require_whole_segments("the MLP's down projection", config_.intermediate_size, rank_.shard.mlp.size());
    const quant::Loader loader{checkpoint.source(), config_.quantization, dtype, device, /*keeps_values=*/true};
    embedding_ = quant::load_dense(
        loader, quant::LinearSpec::whole("model.embed_tokens", config_.vocab_size, config_.hidden_size));
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      Layer loaded(loader, scheme_, checkpoint, rank_.shard, layer);
      forms_.add(loaded);
      if (device.is_cuda())
        gpu_layers_.push_back(std::move(loaded));
      else
        layers_.emplace_back(loaded, config_);
    }
    final_norm_ = quant::load_vector(loader, "model.norm.weight", config_.hidden_size);
    const Range vocabulary = rank_.shard.vocabulary;
    const quant::LinearSpec head{
        "lm_head", config_.vocab_size, config_.hidden_size, vocabulary, {0, config_.hidden_size}};
    Linear loaded_head = config_.tied_head ? Linear(embedding_.narrow(0, vocabulary.begin, vocabulary.size()))
                                           : Linear(loader, scheme_, head);
    if (device.is_cuda()) {
      gpu_head_ = std::move(loaded_head);
      const portable::RopeTable rope(0, config_.max_positions, config_.head_dim, config_.rope_theta);
      const auto upload = [&](const std::vector<float>& values) {
        return at::from_blob(const_cast<float*>(values.data()), {static_cast<std::int64_t>(values.size())}, at::kFloat)
            .to(device);
      };
      gpu_rope_ = {upload(rope.cos), upload(rope.sin)};
    } else {
      head_ = {loaded_head, config_.hidden_size};
      final_norm_ = final_norm_.to(at::kFloat);
    }
  }

  const ModelConfig& config() const override { return config_; }
  at::ScalarType dtype() const override { return c10::typeMetaToScalarType(options_.dtype()); }
  at::Device device() const override { return options_.device(); }
  const parallel::Shard& shard() const override { return rank_.shard; }
  int rank() const override { return rank_.rank; }
  int ranks() const override { return rank_.size; }
  const parallel::Collectives& collectives() const override { return rank_.collectives; }
  bool is_fused() const override { return false; }
  bool captures_steps() const override { return true; }
  kernel::AttentionForm decode_attention() const override { return kernel::AttentionForm::split; }

  kernel::ModelWeights gpu_weights(const KvCache& cache) const override {
    kernel::ModelWeights out;
    for (std::size_t i = 0; i < gpu_layers_.size(); ++i)
      out.layers.push_back(layer_weights(gpu_layers_[i], cache.view(static_cast<std::int64_t>(i))));
    out.embedding = embedding_.const_data_ptr();
    out.final_norm = final_norm_.const_data_ptr();
    out.head = gpu_head_.packed().matrix();
    out.cos = gpu_rope_.cos.const_data_ptr<float>();
    out.sin = gpu_rope_.sin.const_data_ptr<float>();
    return out;
  }

  std::unique_ptr<kernel::AnyStep> make_step(const kernel::StepConfig& config, const KvCache& cache,
                                             const kernel::DecodeStep::Allocate& keep) const override {
    return std::make_unique<PortableStep>(device::kernels(device()), config, gpu_weights(cache), keep);
  }

  OperationTable operations() const override {
    const std::string by =
        on_gpu() ? fmt::format("fpf portable {}, kernel/portable_*.cuh", portable::version)
                 : fmt::format("fpf portable {}, {}", portable::version, name_of(portable::instruction_set()));
    OperationTable out;
    for (const char* operation : {"norm", "qkv", "head_norm_rope", "attention", "attention_output"})
      out.emplace_back(operation, by);
    if (config_.is_moe()) out.emplace_back("router_logits", product_text(scheme_, forms_.router, dtype(), by));
    for (const char* operation : {"route", "experts", "silu_mul", "experts_sum"})
      if (config_.is_moe()) out.emplace_back(operation, by);
    for (const char* operation : {"mlp", "silu_mul"})
      if (!config_.is_moe()) out.emplace_back(operation, by);
    for (const char* operation : {"head", "log_probs"}) out.emplace_back(operation, by);
    return out;
  }

  KvCache make_cache(std::int64_t batch, std::int64_t positions) const override {
    const c10::InferenceMode guard;
    return {config_.num_layers, batch, rank_.shard.kv_heads.size(), positions, config_.head_dim, options_};
  }

  std::size_t weight_bytes() const override {
    std::size_t total = embedding_.nbytes() + final_norm_.nbytes() + head_.bytes();
    for (const auto& layer : layers_) total += layer.bytes();
    for (const auto& layer : gpu_layers_) total += layer.bytes();
    return total + (on_gpu() && !config_.tied_head ? gpu_head_.bytes() : 0);
  }

  execution::TopK log_probs(const at::Tensor& logits, std::int64_t k) const override {
    return portable::log_probs(logits.cpu(), k);
  }

  at::Tensor forward(const at::Tensor& tokens, KvCache& cache, std::int64_t logits_for, Taps* taps) override {
    const c10::InferenceMode guard;
    const std::int64_t batch = tokens.size(0), count = tokens.size(1);
    if (on_gpu()) return forward_on_gpu(tokens, cache, logits_for, taps);
    const portable::RopeTable rope(cache.length(), count, config_.head_dim, config_.rope_theta);
    at::Tensor x = at::embedding(embedding_, tokens.flatten()).to(at::kFloat);  // [batch * count, hidden]
    for (std::int64_t index = 0; index < config_.num_layers; ++index) {
      const PortableLayer& layer = layers_[static_cast<std::size_t>(index)];
      Taps* const tap = taps != nullptr && taps->wants(index) ? taps : nullptr;
      x.add_(attention(layer, index, norm(x, layer.input_norm).view({batch, count, -1}), rope, cache, tap));
      const at::Tensor normed = norm(x, layer.post_norm);
      x.add_(config_.is_moe()
                 ? sparse_mlp(layer, index, normed, tap)
                 : sum_ranks(layer.mlps.front()(rows_of(normed)), rank_.shard.mlp.size() < config_.intermediate_size));
      if (tap != nullptr) tap->hidden(index, portable::narrowed(x, dtype()).view({batch, count, -1}));
    }
    cache.advance(count);
    const at::Tensor last =
        norm(x.view({batch, count, -1}).narrow(1, count - logits_for, logits_for).flatten(0, 1), final_norm_);
    return rank_.collectives.gather_logits(head_(last).view({batch, logits_for, -1}));
  }

 private:
  at::Tensor forward_on_gpu(const at::Tensor& tokens, KvCache& cache, std::int64_t logits_for, Taps* taps) const {
    const auto as_int = [](std::int64_t value) { return static_cast<int>(value); };
    kernel::StepConfig step;
    step.dtype = device::dtype_of(dtype());
    step.hidden = as_int(config_.hidden_size);
    step.vocabulary = as_int(config_.vocab_size);
    step.eps = static_cast<float>(config_.rms_norm_eps);
    step.attention = {as_int(config_.num_heads), as_int(config_.num_kv_heads), as_int(config_.head_dim),
                      config_.qk_norm};
    step.mlp = config_.is_moe()
                   ? kernel::MoeShape{step.hidden, as_int(config_.moe_intermediate_size), as_int(config_.num_experts),
                                      as_int(config_.experts_per_token), config_.norm_topk_prob}
                   : kernel::MoeShape{step.hidden, as_int(config_.intermediate_size), 1, 1, false};
    const kernel::ModelWeights weights = gpu_weights(cache);
    const std::int64_t begin = cache.length(), count = tokens.size(1);
    const auto tap_key = [&](std::int64_t layer) {
      taps->key(layer, cache.keys(layer, begin + count).narrow(2, begin, count));
    };
    at::Tensor logits = portable_forward(
        {device::kernels(device()), device::current_stream(device()), step, weights, logits_for, taps, tap_key}, tokens,
        cache);
    cache.advance(count);
    return logits;
  }

  static portable::RowPointers rows_of(const at::Tensor& x) {
    return portable::row_pointers(x.const_data_ptr<float>(), x.size(0), x.size(1));
  }

  /// Ranks' sums are whole parts of the definition's tree where each has a power of two of its segments.
  void require_whole_segments(std::string_view what, std::int64_t whole, std::int64_t own) const {
    if (own == whole) return;
    const std::int64_t columns = portable::segment_columns(whole), each = own / columns;
    if (own % columns != 0 || whole % own != 0 || (each & (each - 1)) != 0)
      fail(
          "--execution portable: {} adds up {} products in segments of {}, and {} ranks would have {} each: expected a "
          "whole power of two of segments",
          what, whole, columns, rank_.size, own);
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    const at::Tensor in = x.contiguous();
    const std::int64_t n = in.size(1);
    at::Tensor out = at::empty_like(in);
    at::parallel_for(0, in.size(0), std::max<std::int64_t>(1, 16384 / n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        portable::loops().norm(in.const_data_ptr<float>() + r * n, weight.const_data_ptr<float>(),
                               static_cast<float>(config_.rms_norm_eps), n, out.data_ptr<float>() + r * n);
    });
    return out;
  }

  /// The ranks' tensors as a tree over neighbours; `own` where each rank has the whole.
  at::Tensor sum_ranks(const at::Tensor& own, bool divided) const {
    return divided ? tree_of_ranks(rank_.collectives.communicator(), own) : own;
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
  void turn(at::Tensor& qkv, std::int64_t first, std::int64_t heads, const at::Tensor& weight,
            const portable::RopeTable& rope) const {
    const std::int64_t count = qkv.size(1), all = qkv.size(2), d = qkv.size(3), rows = qkv.size(0) * count;
    const portable::Loops& loop = portable::loops();
    at::parallel_for(
        0, rows, std::max<std::int64_t>(1, 16384 / (heads * d)), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; ++r)
            for (std::int64_t h = first; h < first + heads; ++h) {
              float* const head = qkv.data_ptr<float>() + (r * all + h) * d;
              if (weight.defined())
                loop.norm(head, weight.const_data_ptr<float>(), static_cast<float>(config_.rms_norm_eps), d, head);
              const auto at = static_cast<std::size_t>(r % count * (d / 2));
              loop.turn(head, rope.cos.data() + at, rope.sin.data() + at, d / 2);
            }
        });
  }

  at::Tensor attention(const PortableLayer& layer, std::int64_t index, const at::Tensor& x,
                       const portable::RopeTable& rope, KvCache& cache, Taps* tap) {
    const std::int64_t batch = x.size(0), count = x.size(1), d = config_.head_dim, length = cache.length() + count;
    const std::int64_t heads = rank_.shard.heads.size(), kv_heads = rank_.shard.kv_heads.size();
    at::Tensor qkv = layer.qkv(x.flatten(0, 1)).view({batch, count, heads + 2 * kv_heads, d});
    turn(qkv, 0, heads, layer.q_norm, rope);
    turn(qkv, heads, kv_heads, layer.k_norm, rope);
    const at::Tensor kept = portable::narrowed(qkv.narrow(2, heads, 2 * kv_heads), dtype()).transpose(1, 2);
    cache.append(index, kept.narrow(1, 0, kv_heads), kept.narrow(1, kv_heads, kv_heads));
    if (tap != nullptr)
      tap->key(index, rank_.collectives.gather_keys(cache.keys(index, length).narrow(2, cache.length(), count),
                                                    config_.num_kv_heads));
    at::Tensor attended = at::empty({batch, count, heads, d}, at::kFloat);
    portable::attend(qkv.narrow(2, 0, heads).contiguous(), cache.keys(index, length), cache.values(index, length),
                     static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))), attended);
    return sum_ranks(layer.o(attended.view({batch * count, heads * d})), heads < config_.num_heads);
  }

  /// Every chosen expert's output on its own, also over ranks; weighted and added up in the order of the experts.
  at::Tensor sparse_mlp(const PortableLayer& layer, std::int64_t index, const at::Tensor& x, Taps* tap) const {
    const std::int64_t rows = x.size(0), k = config_.experts_per_token, hidden = config_.hidden_size;
    const execution::Routing routing = portable::route(layer.router(x), k, config_.norm_topk_prob);
    if (tap != nullptr) tap->router(index, routing);
    const auto* const ids = routing.expert_ids.const_data_ptr<std::int64_t>();
    std::vector<std::vector<std::int64_t>> slots(static_cast<std::size_t>(config_.num_experts));  // row * k + choice
    for (std::int64_t slot = 0; slot < rows * k; ++slot) slots[static_cast<std::size_t>(ids[slot])].push_back(slot);
    at::Tensor outputs = at::zeros({rows * k, hidden}, at::kFloat);
    for (std::size_t local = 0; local < layer.mlps.size(); ++local) {
      const auto& own = slots[static_cast<std::size_t>(rank_.shard.experts[local])];
      if (own.empty()) continue;
      portable::RowPointers inputs;
      for (const std::int64_t slot : own) inputs.push_back(x.const_data_ptr<float>() + slot / k * hidden);
      const at::Tensor y = layer.mlps[local](inputs);
      for (std::size_t i = 0; i < own.size(); ++i)
        std::copy_n(y.const_data_ptr<float>() + static_cast<std::int64_t>(i) * hidden, hidden,
                    outputs.data_ptr<float>() + own[i] * hidden);
    }
    const bool divided = rank_.shard.expert_mlp.size() < config_.moe_intermediate_size ||
                         std::ssize(rank_.shard.experts) < config_.num_experts;
    const at::Tensor all = sum_ranks(outputs, divided);
    at::Tensor out = at::zeros({rows, hidden}, at::kFloat);
    const portable::Loops& loop = portable::loops();
    for (const auto& expert : slots)
      for (const std::int64_t slot : expert)
        loop.add_scaled(out.data_ptr<float>() + slot / k * hidden, all.const_data_ptr<float>() + slot * hidden,
                        routing.weights.const_data_ptr<float>()[slot], hidden);
    return out;
  }

  const quant::Scheme& scheme_;
  ModelConfig config_;
  parallel::Rank rank_;
  at::TensorOptions options_;
  at::Tensor embedding_;  // [vocab, hidden]
  std::vector<PortableLayer> layers_;
  at::Tensor final_norm_;  // [hidden], float32 on a CPU
  PortableLinear head_;    // [own vocabulary, hidden]
  std::vector<Layer> gpu_layers_;
  Linear gpu_head_;
  GpuRope gpu_rope_;
  StoredForms forms_;
};

}  // namespace fpf::model
