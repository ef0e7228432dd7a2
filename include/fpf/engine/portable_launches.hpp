// The portable execution's launches on a GPU: the words of a pass with any number of rows. A row is a token of a
// sequence.
#pragma once

#include <cmath>
#include <fpf/engine/pass.hpp>
#include <fpf/kernel/plan/portable.hpp>
#include <fpf/kernel/plan/portable_experts.hpp>
#include <fpf/kernel/plan/step.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::engine {

/// Device memory of a pass, float32 unless said otherwise.
struct PortableBuffers {
  float *x, *normed, *qkv, *attended;  // [rows, hidden], [rows, hidden], [rows, q + 2 kv], [rows, q]
  float *partial, *stats;              // of portable_attention_rows rows
  float *router, *weights, *margin;    // [rows, experts], [rows, k], [rows]
  float *gate, *up, *outputs;          // [rows * k, intermediate], the same, [rows * k, hidden]
  int *ids, *ends, *order, *position;  // [rows, k], [experts], [rows * k], [rows]
};

/// Which rows of many attend together: their blocks' sums take memory.
inline constexpr int portable_attention_rows = 128;

/// Where launches go.
struct PortableStream {
  kernel::cuda::Stream stream = nullptr;    // null: kernels are built and named only
  kernel::OperationNames* names = nullptr;  // instead of launches: what they would be; kernels are built
  bool overlap = false;                     // see Launch
};

/// A pass with `config.rows` rows, `tokens` of each sequence. What prefill and decode steps do differently is theirs:
/// where tokens come from, where signals go, which rows the head sees.
class PortableLaunches {
 public:
  PortableLaunches(kernel::Library& library, const kernel::StepConfig& config, const kernel::ModelWeights& weights,
                   const PortableBuffers& buffers, int tokens, const PortableStream& to)
      : library_(library), config_(config), weights_(weights), buffers_(buffers), tokens_(tokens), to_(to) {}

  /// RMSNorm of the residual stream, which the next product makes on its way in.
  struct Normed {
    const void* weight;
  };
  struct Heads {};     // in buffers.qkv
  struct Attended {};  // in buffers.attended
  struct Delta {};     // added to the residual stream already

  const kernel::ModelWeights& weights() const { return weights_; }

  Normed norm(const void* weight) const { return {weight}; }
  Normed add_norm(Delta, const void* weight) const { return {weight}; }

  Heads qkv(std::size_t i, Normed n) {
    layer_ = static_cast<int>(i);
    normalised_product("qkv", weights_.layers[i].qkv, buffers_.x, n.weight, buffers_.normed, false, buffers_.qkv,
                       config_.rows);
    return {};
  }
  Attended attend(std::size_t i, Heads) const {
    attention(weights_.layers[i]);
    return {};
  }
  Delta project(std::size_t i, Attended) const {
    add_product("attention_output", weights_.layers[i].o, buffers_.attended, buffers_.x);
    return {};
  }

 protected:
  /// Where a layer's signals go.
  struct Places {
    int* ids;
    float *weights, *margin;
    void* hidden = nullptr;  // the residual stream that leaves it, in the activations' dtype; null: nowhere
  };

  void embed(const void* tokens, bool wide_ids) const {
    run("embedding", kernel::plan_portable_embed(config_.dtype, config_.hidden, wide_ids),
        kernel::PortableEmbedding{tokens, weights_.embedding, buffers_.x}, config_.rows);
  }

  Delta feed_forward(std::size_t i, Normed n, const Places& places) const {
    const kernel::LayerWeights& w = weights_.layers[i];
    if (!config_.has_experts()) {
      norm(buffers_.x, n.weight, buffers_.normed, config_.rows);
    } else {
      normalised_product("router_logits", w.router, buffers_.x, n.weight, buffers_.normed, true, buffers_.router,
                         config_.rows);
      run("route", kernel::plan_portable_route(config_.mlp),
          kernel::RouteParams{buffers_.router, places.ids, places.weights, places.margin, config_.rows}, config_.rows);
    }
    config_.rows <= kernel::portable_few_rows ? few_rows(w, places) : many_rows(w, places);
    return {};
  }

  /// out = m norm(x), plus m's bias; norm(x) is left in `normed` where rows are many, or `keep` asks for it.
  void normalised_product(const char* name, const kernel::Matrix& m, const float* x, const void* weight, float* normed,
                          bool keep, float* out, int rows) const {
    const auto* const bias = static_cast<const float*>(m.bias);
    const bool biased = bias != nullptr;
    if (rows > kernel::portable_few_rows) {
      norm(x, weight, normed, rows);
      run(name, kernel::plan_portable_gemm(m.format, config_.dtype, m.n, m.k, rows, {.bias = biased}),
          kernel::PortableProduct{m.data, normed, nullptr, 0, nullptr, out, m.n, rows, bias}, 1);
    } else {
      run(name, kernel::plan_portable_gemv(m.format, config_.dtype, m.n, m.k, {.norm = true, .bias = biased}),
          kernel::PortableProduct{m.data, x, weight, config_.eps, keep ? normed : nullptr, out, m.n, rows, bias}, rows);
    }
  }

  template <class Params>
  void run(const char* name, kernel::Plan plan, const Params& params, int rows) const {
    const kernel::Operation operation(library_, std::move(plan));
    if (to_.names == nullptr)
      operation(to_.stream, params, rows, to_.overlap);
    else
      to_.names->add(name, layer_, operation.plan().expression);
  }

  const kernel::StepConfig& config() const { return config_; }
  const PortableBuffers& buffers() const { return buffers_; }
  void leave_layers() { layer_ = -1; }

 private:
  void norm(const float* x, const void* weight, float* out, int rows) const {
    run("norm", kernel::plan_portable_norm(config_.dtype, config_.hidden),
        kernel::PortableNorm{x, weight, out, config_.eps}, rows);
  }

  /// out += m x.
  void add_product(const char* name, const kernel::Matrix& m, const float* x, float* out) const {
    const kernel::Fusion fusion{.add = true, .bias = m.bias != nullptr};
    const int rows = config_.rows;
    const kernel::PortableProduct params{m.data, x, nullptr, 0, nullptr, out, m.n, rows};
    if (rows <= kernel::portable_few_rows)
      run(name, kernel::plan_portable_gemv(m.format, config_.dtype, m.n, m.k, fusion), params, rows);
    else
      run(name, kernel::plan_portable_gemm(m.format, config_.dtype, m.n, m.k, rows, fusion), params, 1);
  }

  void attention(const kernel::LayerWeights& w) const {
    const kernel::AttentionShape& shape = config_.attention;
    const int blocks = kernel::position_blocks(config_.capacity);
    kernel::PortableAttention params{buffers_.qkv,
                                     w.q_norm,
                                     w.k_norm,
                                     weights_.cos,
                                     weights_.sin,
                                     buffers_.position,
                                     w.cache,
                                     buffers_.partial,
                                     buffers_.stats,
                                     buffers_.attended,
                                     static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim))),
                                     config_.eps,
                                     config_.rows,
                                     tokens_,
                                     0,
                                     blocks};
    const bool append = config_.rows <= kernel::portable_few_rows && tokens_ == 1;
    if (!append) run("head_norm_rope", kernel::plan_portable_rope(config_.dtype, shape), params, config_.rows);
    for (int first = 0; first < config_.rows; first += portable_attention_rows) {
      const int rows = std::min(portable_attention_rows, config_.rows - first);
      params.first_row = first;
      run("attention", kernel::plan_portable_attend(config_.dtype, shape, blocks, append), params, rows);
      run("attention_join", kernel::plan_portable_join(shape), params, rows);
    }
  }

  void few_rows(const kernel::LayerWeights& w, const Places& places) const {
    kernel::PortableMoe params{};
    params.experts = w.experts;
    params.ids = config_.has_experts() ? places.ids : nullptr;
    params.weights = places.weights;
    params.x = buffers_.normed;
    params.activated = buffers_.gate;
    params.out = buffers_.x;
    params.tap = places.hidden;
    params.rows = config_.rows;
    run("gate_up", kernel::plan_portable_gate_up(w.gate_up, config_.dtype, config_.mlp), params, config_.rows);
    run("down", kernel::plan_portable_down(w.down, config_.dtype, config_.mlp), params, config_.rows);
  }

  void many_rows(const kernel::LayerWeights& w, const Places& places) const {
    const kernel::MoeShape& m = config_.mlp;
    const int slots = config_.rows * m.top_k;
    const bool sparse = config_.has_experts();
    run("sort_by_expert", kernel::plan_portable_group(m.experts),
        kernel::PortableGroups{sparse ? places.ids : nullptr, buffers_.ends, buffers_.order, slots, m.experts}, 1);
    kernel::PortableGrouped params{
        w.experts, buffers_.normed, buffers_.gate, buffers_.ends, sparse ? buffers_.order : nullptr, nullptr, m.top_k,
        0,         m.intermediate,  m.experts};
    const auto up = kernel::plan_portable_grouped(w.gate_up, config_.dtype, m.intermediate, m.hidden, slots, m.experts);
    run("gate", up, params, 1);
    params.out = buffers_.up;
    params.projection = 1;
    run("up", up, params, 1);
    const long long count = static_cast<long long>(slots) * m.intermediate;
    run("silu_mul", kernel::plan_portable_silu_mul(count),
        kernel::ElementwiseParams{buffers_.gate, buffers_.up, buffers_.gate, count}, 1);
    params.x = buffers_.gate;
    params.out = buffers_.outputs;
    params.projection = 2;
    params.in_rows = nullptr;
    params.out_rows = sparse ? buffers_.order : nullptr;
    params.n = m.hidden;
    run("down", kernel::plan_portable_grouped(w.down, config_.dtype, m.hidden, m.intermediate, slots, m.experts),
        params, 1);
    kernel::PortableMoe sum{};
    sum.ids = sparse ? places.ids : nullptr;
    sum.weights = places.weights;
    sum.outputs = buffers_.outputs;
    sum.out = buffers_.x;
    sum.tap = places.hidden;
    run("experts_sum", kernel::plan_portable_experts_sum(config_.dtype, m), sum, config_.rows);
  }

  kernel::Library& library_;
  const kernel::StepConfig& config_;
  const kernel::ModelWeights& weights_;
  const PortableBuffers& buffers_;
  int tokens_;
  PortableStream to_;
  int layer_ = -1;  // whose launches these are
};

}  // namespace fpf::engine
