// One decode step of a whole model as a sequence of kernels: rows of one token each, against their KV caches.
#pragma once

#include <cmath>
#include <cstdint>
#include <fpf/engine/pass.hpp>
#include <fpf/engine/step.hpp>
#include <fpf/kernel/plan/attention.hpp>
#include <fpf/kernel/plan/ends.hpp>
#include <fpf/kernel/plan/experts.hpp>
#include <fpf/kernel/plan/linear.hpp>
#include <fpf/kernel/plan/step.hpp>
#include <fpf/model/config.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::engine {

/// One launch within a step.
struct Stage {
  std::string_view name;  // "qkv", "attention", "gate_up", ...
  int layer;              // that ran last, -1 before the first and for the head
  const kernel::Plan& plan;
};

/// The kernel for products by rows, in the one place where it is chosen: float32 activations and single rows
/// go through fused multiply-adds, more rows through the tensor cores, as serving stacks choose.
inline kernel::Arithmetic product_arithmetic(const kernel::StepConfig& config) {
  if (config.products) return *config.products;
  if (config.dtype == DType::float32) return kernel::Arithmetic::fma;
  return config.rows == 1 && !config.batch_invariant ? kernel::Arithmetic::fma : kernel::Arithmetic::tensor_cores;
}

/// The step's kernels, built for a model and ready to be enqueued (and captured): token ids and positions are
/// read from the device and advanced there, so that a replay goes on where the last one ended.
class DecodeStep final : public Step {
 public:
  static constexpr model::Block carries{.qk_norm = true, .experts = true, .qkv_bias = true};

  /// Throws Error for shapes that the kernels do not take.
  DecodeStep(kernel::Library& library, kernel::StepConfig step, kernel::ModelWeights weights,
             const kernel::Allocate& allocate)
      : Step(std::move(step), allocate), weights_(std::move(weights)) {
    const auto rows = static_cast<std::size_t>(config().rows), t = size_of(config().dtype);
    const auto elements = [&](std::size_t count) { return allocate(rows * count * t); };
    const auto hidden = static_cast<std::size_t>(config().hidden);
    const kernel::AttentionShape& heads = config().attention;
    const auto q = static_cast<std::size_t>(heads.heads * heads.head_dim);
    const auto kv = static_cast<std::size_t>(heads.kv_heads * heads.head_dim);
    x_ = elements(hidden);
    normed_ = elements(hidden);
    delta_ = elements(hidden);
    qkv_ = elements(q + 2 * kv);
    q_ = elements(q);
    attended_ = elements(q);
    partial_ = static_cast<float*>(allocate(kernel::partial_bytes(heads, config().rows)));
    partial_stats_ = static_cast<float*>(allocate(kernel::partial_stats_bytes(heads, config().rows)));
    if (writes_out())
      scores_ = elements(static_cast<std::size_t>(heads.heads) * static_cast<std::size_t>(config().capacity));
    router_logits_ = elements(static_cast<std::size_t>(config().mlp.experts));
    activated_ = elements(static_cast<std::size_t>(config().mlp.top_k * config().mlp.intermediate));
    logits_ = elements(static_cast<std::size_t>(config().vocabulary));
    own_logits_ = config().exchange.logits ? elements(static_cast<std::size_t>(weights_.head.n)) : logits_;
    candidates_ = allocate(rows * 8 * static_cast<std::size_t>(kernel::log_prob_blocks * config().top_k));
    log_partial_ = static_cast<float*>(allocate(rows * 8 * static_cast<std::size_t>(kernel::log_prob_blocks)));
    position_ = static_cast<int*>(allocate(rows * 4));
    expert_ids_ = static_cast<int*>(allocate(rows * 4 * static_cast<std::size_t>(config().mlp.top_k)));
    expert_weights_ = static_cast<float*>(allocate(rows * 4 * static_cast<std::size_t>(config().mlp.top_k)));
    margin_ = static_cast<float*>(allocate(rows * 4));
    build(library);
  }
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  int* position() const override { return position_; }
  float* expert_weights() const override { return expert_weights_; }

  /// Which launches enqueue() makes; empty: all. For measuring them one by one.
  using Select = std::function<bool(const Stage&)>;

  std::vector<std::pair<std::string, std::string>> operations() const override {
    kernel::OperationNames names;
    enqueue(nullptr, [&](const Stage& stage) {
      names.add(stage.name, stage.layer, stage.plan.expression);
      return false;
    });
    return names.table();
  }

  void enqueue(kernel::cuda::Stream stream) const override { enqueue(stream, {}); }
  /// The same; with `select`, only those it takes.
  void enqueue(kernel::cuda::Stream stream, const Select& select) const {
    StepWords words(*this, stream, select);
    forward_pass(words);
    if (config().exchange.logits && !select) config().exchange.logits(stream, own_logits_, logits_);
    kernel::LogProbParams top{logits_, candidates_, log_partial_, nullptr,
                              nullptr, tokens(),    position_,    config().vocabulary};
    top.ids = place<int>(Signal::logprobs, 0);
    top.log_probs = place<float>(Signal::logprobs, 1);
    const Pass after{stream, select};
    run(after, "log_probs_of_slices", slices_, top);
    run(after, "log_probs", log_probs_, top);
  }

 private:
  using Signal = evidence::StoredSignal;

  struct LayerOperations {
    kernel::Operation qkv, rope, attend, softmax, combine, o, router, route, gate_up, down;
  };
  /// Where launches go, and which of them.
  struct Pass {
    kernel::cuda::Stream stream;
    const Select& select;
    int layer = -1;
  };

  bool writes_out() const { return config().attention.form == kernel::AttentionForm::written_out; }
  bool float32() const { return config().dtype == DType::float32; }
  /// One row's router choice is made inside the experts' kernels.
  bool routes_inside() const { return config().fused && config().has_experts() && config().rows == 1 && !float32(); }

  void build(kernel::Library& library) {
    const auto operation = [&](kernel::Plan plan) { return kernel::Operation(library, std::move(plan)); };
    const kernel::Arithmetic arithmetic = product_arithmetic(config());
    const auto product_plan = [&](const kernel::Matrix& m, bool norm, bool add) {
      const kernel::Fusion fusion{config().fused && norm, config().fused && add, m.bias != nullptr};
      return operation(kernel::plan_gemv(m.format, config().dtype, m.n, m.k, fusion,
                                         m.n < 16 ? kernel::Arithmetic::fma : arithmetic));  // a router of few experts
    };
    kernel::MoeOptions experts{routes_inside(), !config().fused,
                               float32() ? kernel::Arithmetic::fma : kernel::Arithmetic::tensor_cores};
    experts.rows = config().rows;
    embed_ = operation(kernel::plan_embed(config().dtype, config().hidden));
    norm_ = operation(kernel::plan_rms_norm(config().dtype, config().hidden, !config().fused));
    const bool fused_attention = config().fused && !float32() && !writes_out();
    for (const kernel::LayerWeights& w : weights_.layers) {
      LayerOperations& layer = layers_.emplace_back();
      layer.qkv = product_plan(w.qkv, true, false);
      if (!fused_attention)
        layer.rope = operation(kernel::plan_rope_append(config().dtype, config().attention, !config().fused));
      if (writes_out()) {
        layer.attend = operation(kernel::plan_eager_scores(config().dtype, config().attention));
        layer.softmax = operation(kernel::plan_eager_softmax(config().dtype, config().attention));
        layer.combine = operation(kernel::plan_eager_product(config().dtype, config().attention));
      } else {
        layer.attend = operation(kernel::plan_attend(config().dtype, config().attention, fused_attention));
        layer.combine = operation(kernel::plan_combine(config().dtype, config().attention));
      }
      layer.o = product_plan(w.o, false, !config().exchange.attention);
      if (config().has_experts()) {
        layer.router = product_plan(w.router, true, false);
        if (!routes_inside())
          layer.route = operation(kernel::plan_route(config().dtype, config().mlp.experts, config().mlp.top_k,
                                                     config().mlp.renormalise, !config().fused));
      }
      layer.gate_up = operation(kernel::plan_gate_up(w.gate_up, config().dtype, config().mlp, experts));
      layer.down = operation(kernel::plan_down(w.down, config().dtype, config().mlp, experts));
    }
    const kernel::Matrix& head = weights_.head;
    head_ = operation(kernel::plan_head(head.format, config().dtype, head.n, head.k, config().fused,
                                        2 * library.device().multiprocessors));
    slices_ = operation(kernel::plan_log_prob_slices(config().dtype, config().vocabulary, config().top_k));
    log_probs_ = operation(kernel::plan_log_probs(config().top_k));
  }

  template <class Params>
  void run(const Pass& pass, std::string_view name, const kernel::Operation& operation, const Params& params) const {
    if (!pass.select || pass.select({name, pass.layer, operation.plan()}))
      operation(pass.stream, params, config().rows, config().fused);
  }

  kernel::GemvParams product(const kernel::Matrix& m, const void* x, void* out, const void* norm = nullptr,
                             const void* residual = nullptr, void* normed = nullptr) const {
    const void* const added = residual != nullptr ? residual : m.bias;
    return {m.data, x, norm, added, out, normed, m.n, config().rows, config().eps};
  }

  void attention(std::size_t i, const Pass& pass) const {
    const kernel::LayerWeights& w = weights_.layers[i];
    const kernel::AttentionParams params{
        qkv_,         w.q_norm,       w.k_norm,  weights_.cos,
        weights_.sin, position_,      w.cache,   q_,
        partial_,     partial_stats_, attended_, 1.0f / std::sqrt(static_cast<float>(config().attention.head_dim)),
        config().eps, config().rows,  scores_,   config().capacity};
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

  /// The router's choice from router_logits_ and the experts over normed_, or the dense MLP: out = residual + their
  /// sum.
  void experts(std::size_t i, const Pass& pass, const void* residual, void* out) const {
    const LayerOperations& op = layers_[i];
    if (!op.route.plan().expression.empty())
      run(pass, "route", op.route,
          kernel::RouteParams{router_logits_, expert_ids_at(i), expert_weights_at(i), margin_at(i), config().rows});
    kernel::MoeParams params{};
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
    params.rows = config().rows;
    run(pass, "gate_up", op.gate_up, params);
    run(pass, "down", op.down, params);
  }

  /// The pass's words as launches. Where the step is fused, products norm their input on the way in and add the
  /// residual on the way out, each with one rounding at its end; else every operation rounds its result. What ranks
  /// exchange is added to the residual once it is whole.
  class StepWords {
   public:
    StepWords(const DecodeStep& step, kernel::cuda::Stream stream, const Select& select)
        : s_(step), pass_{stream, select} {}

    /// RMSNorm of x: with `weight` the next product's own business, else x is normed already.
    struct Normed {
      const void* x;
      const void* weight;
    };
    struct Heads {};     // in qkv_
    struct Attended {};  // in attended_
    /// What the residual stream becomes in `sum`: there already, or yet to be added from delta_.
    struct Delta {
      void* sum;
      bool added;
    };

    const kernel::ModelWeights& weights() const { return s_.weights_; }

    void embed() {
      s_.run(pass_, "embedding", s_.embed_, kernel::EmbeddingParams{s_.tokens(), s_.weights_.embedding, s_.x_});
      x_ = s_.x_;
    }

    Normed norm(const void* weight) const {
      if (s_.config().fused) return {x_, weight};
      add_norm(nullptr, nullptr, weight);
      return {s_.normed_, nullptr};
    }

    Heads qkv(std::size_t i, Normed n) {
      pass_.layer = static_cast<int>(i);
      product("qkv", s_.layers_[i].qkv, weights().layers[i].qkv, n, s_.qkv_);
      return {};
    }

    Attended attend(std::size_t i, Heads) const {
      s_.attention(i, pass_);
      return {};
    }

    Delta project(std::size_t i, Attended) const {
      const kernel::Operation& operation = s_.layers_[i].o;
      const kernel::Matrix& o = weights().layers[i].o;
      const auto& exchange = s_.config().exchange.attention;
      const bool adds = s_.config().fused && !exchange;
      s_.run(pass_, "attention_output", operation,
             s_.product(o, s_.attended_, adds ? s_.x_ : s_.delta_, nullptr, adds ? x_ : nullptr));
      sum_of_ranks(exchange);
      return {s_.x_, adds};
    }

    Delta feed_forward(std::size_t i, Normed n) const {
      const LayerOperations& operations = s_.layers_[i];
      if (s_.config().has_experts())
        product("router_logits", operations.router, weights().layers[i].router, n, s_.router_logits_,
                n.weight != nullptr ? s_.normed_ : nullptr);
      else if (n.weight != nullptr)
        add_norm(nullptr, nullptr, n.weight);
      const auto& exchange = s_.config().exchange.mlp;
      const bool adds = s_.config().fused && !exchange;
      void* const sum = s_.hidden_after(i + 1);
      s_.experts(i, pass_, adds ? x_ : nullptr, adds ? sum : s_.delta_);
      sum_of_ranks(exchange);
      return {sum, adds};
    }

    Normed add_norm(Delta delta, const void* weight) {
      if (!delta.added) add_norm(s_.delta_, delta.sum, weight);
      x_ = delta.sum;
      return s_.config().fused ? Normed{x_, weight} : Normed{s_.normed_, nullptr};
    }

    void show(std::size_t) const {}  // kernels write where signals are kept

    void* head(Normed n) {
      pass_.layer = -1;
      product("head", s_.head_, s_.weights_.head, n, s_.own_logits_);
      return s_.own_logits_;
    }

   private:
    void product(std::string_view name, const kernel::Operation& operation, const kernel::Matrix& m, Normed n,
                 void* out, void* normed = nullptr) const {
      s_.run(pass_, name, operation, s_.product(m, n.x, out, n.weight, nullptr, normed));
    }
    /// sum = the residual stream + delta, normed_ = norm of it.
    void add_norm(const void* delta, void* sum, const void* weight) const {
      s_.run(pass_, "norm", s_.norm_, kernel::NormParams{x_, delta, sum, weight, s_.normed_, s_.config().eps});
    }
    /// Of partial [rows, hidden] in delta_, in place.
    void sum_of_ranks(const kernel::Exchange::Sum& exchange) const {
      const kernel::StepConfig& c = s_.config();
      if (exchange && !pass_.select)
        exchange(pass_.stream, s_.delta_, static_cast<std::size_t>(c.rows) * static_cast<std::size_t>(c.hidden));
    }

    const DecodeStep& s_;
    Pass pass_;
    const void* x_ = nullptr;  // the residual stream
  };

  int* expert_ids_at(std::size_t i) const { return place(Signal::router, 0, i, expert_ids_); }
  float* expert_weights_at(std::size_t i) const { return place(Signal::router, 1, i, expert_weights_); }
  float* margin_at(std::size_t i) const { return place(Signal::router, 2, i, margin_); }
  /// The residual stream [rows, hidden] after so many layers.
  void* hidden_after(std::size_t layers) const {
    return layers == 0 ? x_ : place(Signal::hidden_states, 0, layers - 1, x_);
  }

  kernel::ModelWeights weights_;
  std::vector<LayerOperations> layers_;
  kernel::Operation embed_, norm_, head_, slices_, log_probs_;
  void *x_, *normed_, *delta_, *qkv_, *q_, *attended_, *router_logits_, *activated_, *logits_, *own_logits_,
      *candidates_;
  void* scores_ = nullptr;
  float *partial_, *partial_stats_, *log_partial_;
  int *position_, *expert_ids_;
  float *expert_weights_, *margin_;
};

}  // namespace fpf::engine
