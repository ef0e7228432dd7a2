// The forward pass by libtorch's operators, with fpf's kernels between the products on a GPU; the policies are what its
// words call.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <fpf/engine/decode_step.hpp>
#include <fpf/engine/decoder.hpp>
#include <fpf/engine/gpu_weights.hpp>
#include <fpf/engine/grouped_experts.hpp>
#include <fpf/engine/named_pass.hpp>
#include <fpf/engine/numerics.hpp>
#include <fpf/execution/operators.hpp>
#include <memory>

namespace fpf::engine {

/// What does not change from pass to pass.
struct LibraryModel {
  const model::ModelConfig& config;
  const model::Weights<>& weights;
  const parallel::Shard& shard;
  const parallel::Collectives& collectives;
  const attention::Kernel& attention;
  execution::Operators operators;
  at::TensorOptions options;
  const GpuRope& gpu_rope;  // on a GPU
  bool hopper;              // a GPU of compute capability 9 or more
};

/// The words of one pass over tokens [batch, count]. Handles are tensors [batch, count, features].
class LibraryWords {
 public:
  LibraryWords(const LibraryModel& model, const at::Tensor& tokens, model::KvCache& cache, std::int64_t logits_for,
               model::Taps* taps)
      : m_(model), tokens_(tokens), cache_(cache), logits_for_(logits_for), taps_(taps), count_(tokens.size(1)) {
    if (!tokens.is_cuda()) rope_ = model::rope_table(m_.config, cache.length(), count_, m_.options);
  }

  const model::Weights<>& weights() const { return m_.weights; }

  void embed() { x_ = at::embedding(m_.weights.embedding, tokens_); }

  at::Tensor norm(const at::Tensor& weight) const { return m_.operators.norm(x_, weight, eps()); }

  at::Tensor add_norm(const at::Tensor& delta, const at::Tensor& weight) {
    return m_.operators.add_norm(x_, delta, weight, eps());
  }

  at::Tensor qkv(std::size_t i, const at::Tensor& normed) const { return layer(i).qkv(normed); }

  /// -> [batch, count, own heads * head_dim]
  at::Tensor attend(std::size_t i, const at::Tensor& qkv) const {
    const auto index = static_cast<std::int64_t>(i);
    const std::int64_t heads = m_.shard.heads.size(), kv_heads = m_.shard.kv_heads.size(), d = m_.config.head_dim;
    const at::Tensor all = qkv.view({qkv.size(0), count_, heads + 2 * kv_heads, d});
    const at::Tensor &q_norm = layer(i).q_norm, &k_norm = layer(i).k_norm;
    at::Tensor q;
    if (qkv.is_cuda()) {
      q = rope_append(all, heads, {q_norm, k_norm, eps()}, m_.gpu_rope, cache_, index);
    } else {
      q = m_.operators.head_norm_rope(all.narrow(2, 0, heads), q_norm, eps(), rope_);
      const at::Tensor k = m_.operators.head_norm_rope(all.narrow(2, heads, kv_heads), k_norm, eps(), rope_);
      cache_.append(index, k, all.narrow(2, heads + kv_heads, kv_heads).transpose(1, 2));
    }
    const std::int64_t length = cache_.length() + count_;
    const at::Tensor attended = m_.attention.attend(q, cache_.keys(index, length), cache_.values(index, length),
                                                    1.0 / std::sqrt(static_cast<double>(d)));
    return attended.reshape({qkv.size(0), count_, -1});
  }

  at::Tensor project(std::size_t i, const at::Tensor& attended) const {
    return m_.collectives.sum_attention(layer(i).o(attended));
  }

  at::Tensor feed_forward(std::size_t i, const at::Tensor& normed) {
    return m_.collectives.sum_mlp(m_.config.is_moe() ? experts(i, normed) : mlp(layer(i).mlp, normed));
  }

  void show(std::size_t i) const {
    if (!wants(i)) return;
    show_layer(*taps_, static_cast<std::int64_t>(i), cache_, m_.collectives, m_.config.num_kv_heads,
               m_.config.is_moe() ? &routing_ : nullptr, x_);
  }

  /// -> [batch, logits_for, vocabulary]
  at::Tensor head(const at::Tensor& normed) const {
    return m_.collectives.gather_logits(m_.weights.head(normed.narrow(1, count_ - logits_for_, logits_for_)));
  }

 private:
  const model::Layer& layer(std::size_t i) const { return m_.weights.layers[i]; }
  double eps() const { return m_.config.rms_norm_eps; }
  bool wants(std::size_t layer) const { return taps_ != nullptr && taps_->wants(static_cast<std::int64_t>(layer)); }

  at::Tensor mlp(const model::Mlp& mlp, const at::Tensor& x) const {
    return mlp.down(m_.operators.silu_mul(mlp.gate(x), mlp.up(x)));
  }

  /// The chosen experts' outputs, weighted and summed in the order of the experts (transformers'
  /// Qwen3MoeSparseMoeBlock).
  at::Tensor experts(std::size_t i, const at::Tensor& x) {
    const std::int64_t k = m_.config.experts_per_token;
    const at::Tensor rows = x.reshape({-1, m_.config.hidden_size});
    const execution::Routing routing = m_.operators.route(layer(i).router(rows), k, m_.config.norm_topk_prob);
    if (wants(i)) routing_ = routing;
    if (x.is_cuda()) return grouped_experts(layer(i), rows, routing, m_.hopper).view(x.sizes());
    at::Tensor out = at::zeros_like(rows);
    const at::Tensor flat_weights = routing.weights.reshape({-1});
    for (std::size_t local = 0; local < m_.shard.experts.size(); ++local) {
      const at::Tensor slots = routing.expert_ids.eq(m_.shard.experts[local]).view({-1}).nonzero().view({-1});
      if (slots.size(0) == 0) continue;
      const at::Tensor at_rows = slots.div(k, "floor");
      const at::Tensor y = mlp(layer(i).experts[local], rows.index_select(0, at_rows));
      out.index_add_(0, at_rows, y * flat_weights.index_select(0, slots).unsqueeze(1));
    }
    return out.view(x.sizes());
  }

  const LibraryModel& m_;
  const at::Tensor& tokens_;
  model::KvCache& cache_;
  std::int64_t logits_for_;
  model::Taps* taps_;
  std::int64_t count_;
  execution::RopeTable rope_;   // on a CPU
  at::Tensor x_;                // the residual stream [batch, count, hidden]
  execution::Routing routing_;  // of the layer at hand, where it is wanted
};

/// Any numerics but the portable ones.
class LibraryDecoder final : public Decoder {
 public:
  static constexpr model::Block carries{.qk_norm = true, .experts = true, .qkv_bias = true};

  /// Loads the rank's shard in `dtype`. Throws Error, by name, for tensors that are missing or misshapen.
  LibraryDecoder(const Numerics& numerics, const model::Checkpoint& checkpoint, parallel::Rank rank,
                 at::ScalarType dtype, at::Device device)
      : Decoder(checkpoint.config(), std::move(rank), dtype, device),
        numerics_(numerics),
        weights_({checkpoint.source(), config().quantization, dtype, device}, numerics.quantisation, checkpoint,
                 shard()) {
    if (!on_gpu()) return;
    gpu_rope_ = gpu_rope(config(), options());
    hopper_ = device::kernels(device).device().compute_capability >= 90;
  }

  std::size_t weight_bytes() const override { return weights_.bytes(); }

  at::Tensor forward(const at::Tensor& tokens, model::KvCache& cache, std::int64_t logits_for,
                     model::Taps* taps) override {
    const c10::InferenceMode guard;
    const LibraryModel model{.config = config(),
                             .weights = weights_,
                             .shard = shard(),
                             .collectives = collectives(),
                             .attention = numerics_.attention,
                             .operators = execution::Operators(numerics_.execution),
                             .options = options(),
                             .gpu_rope = gpu_rope_,
                             .hopper = hopper_};
    LibraryWords words(model, tokens, cache, logits_for, taps);
    at::Tensor logits = forward_pass(words);
    cache.advance(tokens.size(1));
    return logits;
  }

  OperationTable operations() const override {
    const auto word = [&](std::string_view execution::Kernels::*policys, std::string_view kernel) {
      if (on_gpu()) return std::string(kernel);
      if (numerics_.execution.kernels) return std::string((*numerics_.execution.kernels).*policys);
      return fmt::format("execution '{}'", numerics_.execution.name);
    };
    const auto product = [&](std::string by) {
      return [this, by = std::move(by)](const model::StoredForm& form) {
        return model::product_text(numerics_.quantisation, form, dtype(), by);
      };
    };
    using Of = execution::Kernels;
    const attention::Kernel& attention = numerics_.attention;
    const std::string library = on_gpu() ? "libtorch linear (cuBLAS)" : "libtorch linear";
    const std::string grouped = groups_products(dtype(), hopper_) ? "_grouped_mm" : "mm, expert by expert";
    const PassNames names{
        .embedding = "libtorch embedding",
        .norm = word(&Of::norm, "rms_norm"),
        .head_norm_rope = word(&Of::head_norm_rope, "rope_append"),
        .attention = std::string(attention.kernel == nullptr ? attention.name : attention.kernel(device(), dtype())),
        .route = word(&Of::route, "route"),
        .silu_mul = word(&Of::silu_mul, "silu_mul"),
        .experts_sum = on_gpu() ? "libtorch mul, add in the order of the experts"
                                : "libtorch index_add in the order of the experts",
        .log_probs = "libtorch log_softmax in float32, fpf top_k",
        .experts = product(on_gpu() ? "libtorch " + grouped : library + ", expert by expert"),
        .router = product(library),
        .product = product(library)};
    return NamedPass(weights_, names, config().is_moe()).table();
  }

  std::unique_ptr<Step> make_step(kernel::StepConfig step, const model::KvCache& cache,
                                  const kernel::Allocate& keep) const override {
    step.attention.form = numerics_.attention.decode_form.value();  // on a GPU an attention without is refused
    step.fused = numerics_.execution.fused;
    return std::make_unique<DecodeStep>(device::kernels(device()), std::move(step),
                                        addresses(weights_, gpu_rope_, cache), keep);
  }
  bool captures_steps() const override { return numerics_.execution.fused; }

 private:
  Numerics numerics_;
  model::Weights<> weights_;
  GpuRope gpu_rope_;
  bool hopper_ = false;
};

}  // namespace fpf::engine
