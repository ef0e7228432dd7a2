// One decode step of a whole model as a sequence of kernels: rows of one token each, against their KV caches.
#pragma once

#include <cmath>
#include <cstdint>
#include <fpf/kernel/plan/attention.hpp>
#include <fpf/kernel/plan/ends.hpp>
#include <fpf/kernel/plan/experts.hpp>
#include <fpf/kernel/plan/linear.hpp>
#include <fpf/kernel/step_layout.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::kernel {

/// One launch within a step.
struct Stage {
  std::string_view name;  // "qkv", "attention", "gate_up", ...
  int layer;              // -1 before and after the layers
  const Plan& plan;
};

/// The kernel for products by rows, in the one place where it is chosen: float32 activations and single rows
/// go through fused multiply-adds, more rows through the matrix units, as serving stacks choose.
inline Arithmetic product_arithmetic(const StepConfig& config) {
  if (config.products) return *config.products;
  if (config.dtype == DType::float32) return Arithmetic::lanes;
  return config.rows == 1 && !config.batch_invariant ? Arithmetic::lanes : Arithmetic::tiles;
}

/// The step's kernels, built for a model and ready to be enqueued (and captured): token ids and positions are
/// read from the device and advanced there, so that a replay goes on where the last one ended.
class DecodeStep final : public AnyStep {
 public:
  /// Gives device memory that lives as long as the step, zeroed.
  using Allocate = std::function<void*(std::size_t bytes)>;

  /// Throws Error for shapes that the kernels do not take.
  DecodeStep(Library& library, StepConfig config, ModelWeights weights, const Allocate& allocate)
      : config_(std::move(config)), weights_(std::move(weights)), taps_(config_) {
    const auto rows = static_cast<std::size_t>(config_.rows), t = size_of(config_.dtype);
    const auto elements = [&](std::size_t count) { return allocate(rows * count * t); };
    const auto hidden = static_cast<std::size_t>(config_.hidden);
    const AttentionShape& heads = config_.attention;
    const auto q = static_cast<std::size_t>(heads.heads * heads.head_dim);
    const auto kv = static_cast<std::size_t>(heads.kv_heads * heads.head_dim);
    x_ = elements(hidden);
    normed_ = elements(hidden);
    delta_ = elements(hidden);
    qkv_ = elements(q + 2 * kv);
    q_ = elements(q);
    attended_ = elements(q);
    partial_ = static_cast<float*>(allocate(partial_bytes(heads, config_.rows)));
    partial_stats_ = static_cast<float*>(allocate(partial_stats_bytes(heads, config_.rows)));
    if (writes_out())
      scores_ = elements(static_cast<std::size_t>(heads.heads) * static_cast<std::size_t>(config_.capacity));
    router_logits_ = elements(static_cast<std::size_t>(config_.mlp.experts));
    activated_ = elements(static_cast<std::size_t>(config_.mlp.top_k * config_.mlp.intermediate));
    logits_ = elements(static_cast<std::size_t>(config_.vocabulary));
    own_logits_ = config_.exchange.logits ? elements(static_cast<std::size_t>(weights_.head.n)) : logits_;
    candidates_ = allocate(rows * 8 * static_cast<std::size_t>(log_prob_blocks * config_.top_k));
    log_partial_ = static_cast<float*>(allocate(rows * 8 * static_cast<std::size_t>(log_prob_blocks)));
    tap_buffer_ = static_cast<std::byte*>(allocate(taps_.bytes));
    tokens_ = static_cast<int*>(allocate(rows * 4));
    position_ = static_cast<int*>(allocate(rows * 4));
    expert_ids_ = static_cast<int*>(allocate(rows * 4 * static_cast<std::size_t>(config_.mlp.top_k)));
    expert_weights_ = static_cast<float*>(allocate(rows * 4 * static_cast<std::size_t>(config_.mlp.top_k)));
    margin_ = static_cast<float*>(allocate(rows * 4));
    build(library);
  }
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  const StepConfig& config() const override { return config_; }
  const TapLayout& taps() const override { return taps_; }
  const std::byte* tap_buffer() const override { return tap_buffer_; }
  int* tokens() const override { return tokens_; }
  int* position() const override { return position_; }
  float* expert_weights() const override { return expert_weights_; }

  /// Which launches enqueue() makes; empty: all. For measuring them one by one.
  using Select = std::function<bool(const Stage&)>;

  std::vector<std::pair<std::string, std::string>> operations() const override {
    OperationNames names;
    enqueue(nullptr, [&](const Stage& stage) {
      names.add(stage.name, stage.layer, stage.plan.expression);
      return false;
    });
    return names.table();
  }

  void enqueue(cuda::Stream stream) const override { enqueue(stream, {}); }
  /// The same; with `select`, only those it takes.
  void enqueue(cuda::Stream stream, const Select& select) const {
    const Pass pass{stream, select};
    run(pass, "embedding", embed_, EmbeddingParams{tokens_, weights_.embedding, x_});
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Pass layer{stream, select, static_cast<int>(i)};
      config_.fused ? fused_layer(i, layer) : separate_layer(i, layer);
    }
    if (config_.fused) {
      run(pass, "head", head_, product(weights_.head, hidden_after(layers_.size()), own_logits_, weights_.final_norm));
    } else {
      add_norm(pass, x_, delta_, hidden_after(layers_.size()), weights_.final_norm);
      run(pass, "head", head_, product(weights_.head, normed_, own_logits_));
    }
    if (config_.exchange.logits && !select) config_.exchange.logits(stream, own_logits_, logits_);
    LogProbParams top{logits_, candidates_, log_partial_, nullptr, nullptr, tokens_, position_, config_.vocabulary};
    top.ids = tap<int>(taps_.ids);
    top.log_probs = tap<float>(taps_.log_probs);
    run(pass, "log_probs_of_slices", slices_, top);
    run(pass, "log_probs", log_probs_, top);
  }

 private:
  struct LayerOperations {
    Operation qkv, rope, attend, softmax, combine, o, router, route, gate_up, down;
  };
  /// Where launches go, and which of them.
  struct Pass {
    cuda::Stream stream;
    const Select& select;
    int layer = -1;
  };

  bool writes_out() const { return config_.attention.form == AttentionForm::written_out; }
  bool float32() const { return config_.dtype == DType::float32; }
  /// One row's router choice is made inside the experts' kernels.
  bool routes_inside() const { return config_.fused && config_.has_experts() && config_.rows == 1 && !float32(); }

  void build(Library& library) {
    const auto operation = [&](Plan plan) { return Operation(library, std::move(plan)); };
    const Arithmetic arithmetic = product_arithmetic(config_);
    const auto product_plan = [&](const Matrix& m, bool norm, bool add) {
      return operation(plan_gemv(m.format, config_.dtype, m.n, m.k, {config_.fused && norm, config_.fused && add},
                                 m.n < 16 ? Arithmetic::lanes : arithmetic));  // a router of few experts
    };
    MoeOptions experts{routes_inside(), !config_.fused, float32() ? Arithmetic::lanes : Arithmetic::tiles};
    experts.rows = config_.rows;
    embed_ = operation(plan_embed(config_.dtype, config_.hidden));
    norm_ = operation(plan_rms_norm(config_.dtype, config_.hidden, !config_.fused));
    const bool fused_attention = config_.fused && !float32() && !writes_out();
    for (const LayerWeights& w : weights_.layers) {
      LayerOperations& layer = layers_.emplace_back();
      layer.qkv = product_plan(w.qkv, true, false);
      if (!fused_attention) layer.rope = operation(plan_rope_append(config_.dtype, config_.attention, !config_.fused));
      if (writes_out()) {
        layer.attend = operation(plan_eager_scores(config_.dtype, config_.attention));
        layer.softmax = operation(plan_eager_softmax(config_.dtype, config_.attention));
        layer.combine = operation(plan_eager_product(config_.dtype, config_.attention));
      } else {
        layer.attend = operation(plan_attend(config_.dtype, config_.attention, fused_attention));
        layer.combine = operation(plan_combine(config_.dtype, config_.attention));
      }
      layer.o = product_plan(w.o, false, !config_.exchange.attention);
      if (config_.has_experts()) {
        layer.router = product_plan(w.router, true, false);
        if (!routes_inside())
          layer.route = operation(plan_route(config_.dtype, config_.mlp.experts, config_.mlp.top_k,
                                             config_.mlp.renormalise, !config_.fused));
      }
      layer.gate_up = operation(plan_gate_up(w.gate_up, config_.dtype, config_.mlp, experts));
      layer.down = operation(plan_down(w.down, config_.dtype, config_.mlp, experts));
    }
    const Matrix& head = weights_.head;
    head_ = operation(
        plan_head(head.format, config_.dtype, head.n, head.k, config_.fused, 2 * library.device().multiprocessors));
    slices_ = operation(plan_log_prob_slices(config_.dtype, config_.vocabulary, config_.top_k));
    log_probs_ = operation(plan_log_probs(config_.top_k));
  }

  template <class Params>
  void run(const Pass& pass, std::string_view name, const Operation& operation, const Params& params) const {
    if (!pass.select || pass.select({name, pass.layer, operation.plan()}))
      operation(pass.stream, params, config_.rows, config_.fused);
  }

  GemvParams product(const Matrix& m, const void* x, void* out, const void* norm = nullptr,
                     const void* residual = nullptr, void* normed = nullptr) const {
    return {m.data, x, norm, residual, out, normed, m.n, config_.rows, config_.eps};
  }

  /// sum = x + delta, normed_ = norm of it.
  void add_norm(const Pass& pass, const void* x, const void* delta, void* sum, const void* weight) const {
    run(pass, "norm", norm_, NormParams{x, delta, sum, weight, normed_, config_.eps});
  }

  void attention(std::size_t i, const Pass& pass) const {
    const LayerWeights& w = weights_.layers[i];
    const AttentionParams params{
        qkv_,         w.q_norm,       w.k_norm,  weights_.cos,
        weights_.sin, position_,      w.cache,   q_,
        partial_,     partial_stats_, attended_, 1.0f / std::sqrt(static_cast<float>(config_.attention.head_dim)),
        config_.eps,  config_.rows,   scores_,   config_.capacity};
    const LayerOperations& op = layers_[i];
    if (!op.rope.plan().expression.empty()) run(pass, "head_norm_rope", op.rope, params);
    if (writes_out()) {
      run(pass, "attention_scores", op.attend, params);
      run(pass, "attention_softmax", op.softmax, params);
      run(pass, "attention_product", op.combine, params);
    } else {
      run(pass, "attention", op.attend, params);
      run(pass, "attention_combine", op.combine, params);
    }
  }

  MoeParams experts(std::size_t i, const void* residual, void* out) const {
    MoeParams params{};
    params.experts = weights_.layers[i].experts;
    params.logits = router_logits_;
    params.expert_ids = expert_ids_at(i);
    params.weights = expert_weights_at(i);
    params.x = normed_;
    params.activated = activated_;
    params.residual = residual;
    params.out = out;
    if (routes_inside()) {
      params.chosen_ids = expert_ids_at(i);
      params.chosen_weights = expert_weights_at(i);
      params.margin = margin_at(i);
    }
    params.rows = config_.rows;
    return params;
  }

  /// The ranks' sum of a partial [rows, hidden] in delta_.
  void sum(const Pass& pass, const Exchange::Sum& exchange) const {
    if (exchange && !pass.select)
      exchange(pass.stream, delta_, static_cast<std::size_t>(config_.rows) * static_cast<std::size_t>(config_.hidden));
  }

  void feed_forward(std::size_t i, const Pass& pass, const void* residual, void* out) const {
    const LayerOperations& op = layers_[i];
    if (!op.route.plan().expression.empty())
      run(pass, "route", op.route,
          RouteParams{router_logits_, expert_ids_at(i), expert_weights_at(i), margin_at(i), config_.rows});
    const MoeParams params = experts(i, residual, out);
    run(pass, "gate_up", op.gate_up, params);
    run(pass, "down", op.down, params);
  }

  void fused_layer(std::size_t i, const Pass& pass) const {
    const LayerWeights& w = weights_.layers[i];
    const LayerOperations& op = layers_[i];
    const void* x = hidden_after(i);
    run(pass, "qkv", op.qkv, product(w.qkv, x, qkv_, w.input_norm));
    attention(i, pass);
    if (config_.exchange.attention) {  // the residual is added once, to the sum
      run(pass, "attention_output", op.o, product(w.o, attended_, delta_));
      sum(pass, config_.exchange.attention);
      add_norm(pass, x, delta_, x_, w.post_norm);
    } else {
      run(pass, "attention_output", op.o, product(w.o, attended_, x_, nullptr, x));
    }
    if (config_.has_experts())
      run(pass, "router_logits", op.router, product(w.router, x_, router_logits_, w.post_norm, nullptr, normed_));
    else
      add_norm(pass, x_, nullptr, nullptr, w.post_norm);
    if (config_.exchange.mlp) {
      feed_forward(i, pass, nullptr, delta_);
      sum(pass, config_.exchange.mlp);
      add_norm(pass, x_, delta_, hidden_after(i + 1), w.input_norm);
    } else {
      feed_forward(i, pass, x_, hidden_after(i + 1));
    }
  }

  void separate_layer(std::size_t i, const Pass& pass) const {
    const LayerWeights& w = weights_.layers[i];
    const LayerOperations& op = layers_[i];
    void* const x = hidden_after(i);
    add_norm(pass, x_, i == 0 ? nullptr : delta_, x, w.input_norm);
    run(pass, "qkv", op.qkv, product(w.qkv, normed_, qkv_));
    attention(i, pass);
    run(pass, "attention_output", op.o, product(w.o, attended_, delta_));
    sum(pass, config_.exchange.attention);
    add_norm(pass, x, delta_, x_, w.post_norm);
    if (config_.has_experts()) run(pass, "router_logits", op.router, product(w.router, normed_, router_logits_));
    feed_forward(i, pass, nullptr, delta_);
    sum(pass, config_.exchange.mlp);
  }

  /// Index of layer i among the tapped ones, or -1.
  int tapped(std::size_t i) const {
    const auto found = std::find(config_.tapped.begin(), config_.tapped.end(), static_cast<int>(i));
    return found == config_.tapped.end() ? -1 : static_cast<int>(found - config_.tapped.begin());
  }
  template <class T>
  T* tap(std::size_t offset) const {
    return reinterpret_cast<T*>(tap_buffer_ + offset);
  }
  std::size_t tap_choice(std::size_t i) const {
    return static_cast<std::size_t>(tapped(i) * config_.rows * config_.mlp.top_k) * 4;
  }
  bool taps_router(std::size_t i) const { return config_.has_experts() && tapped(i) >= 0; }
  int* expert_ids_at(std::size_t i) const {
    return taps_router(i) ? tap<int>(taps_.expert_ids + tap_choice(i)) : expert_ids_;
  }
  float* expert_weights_at(std::size_t i) const {
    return taps_router(i) ? tap<float>(taps_.weights + tap_choice(i)) : expert_weights_;
  }
  float* margin_at(std::size_t i) const {
    return taps_router(i) ? tap<float>(taps_.margin + static_cast<std::size_t>(tapped(i) * config_.rows) * 4) : margin_;
  }

  /// The residual stream [rows, hidden] after so many layers: where its signal is kept, or in x_. The kernels write it
  /// there, so that taking it costs nothing.
  void* hidden_after(std::size_t layers) const {
    const int place = layers == 0 ? -1 : tapped(layers - 1);
    return place < 0 ? x_
                     : tap_buffer_ + taps_.hidden + static_cast<std::size_t>(place * config_.rows) * taps_.hidden_bytes;
  }

  StepConfig config_;
  ModelWeights weights_;
  TapLayout taps_;
  std::vector<LayerOperations> layers_;
  Operation embed_, norm_, head_, slices_, log_probs_;
  void *x_, *normed_, *delta_, *qkv_, *q_, *attended_, *router_logits_, *activated_, *logits_, *own_logits_,
      *candidates_;
  void* scores_ = nullptr;
  float *partial_, *partial_stats_, *log_partial_;
  std::byte* tap_buffer_;
  int *tokens_, *position_, *expert_ids_;
  float *expert_weights_, *margin_;
};

}  // namespace fpf::kernel
