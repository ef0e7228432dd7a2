// The portable execution's launches: what a pass over any number of rows is made of. A row is a token of a sequence.
#pragma once

#include <cmath>
#include <fpf/kernel/plan/portable.hpp>
#include <fpf/kernel/plan/portable_experts.hpp>
#include <fpf/kernel/step_layout.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::kernel {

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

/// Enqueues the parts of a pass with `config.rows` rows, `tokens` of each sequence.
class PortablePass {
 public:
  /// With a null stream in enqueue(), kernels are built and named only.
  PortablePass(Library& library, const StepConfig& config, const ModelWeights& weights, const PortableBuffers& buffers,
               int tokens)
      : library_(library), config_(config), weights_(weights), buffers_(buffers), tokens_(tokens) {}

  struct Stream {
    cuda::Stream stream = nullptr;
    OperationNames* names = nullptr;  // instead of launches: what would be
    bool overlap = false;             // see Launch
    int layer = -1;                   // whose launches these are; set by layer()
  };
  /// Where one layer's router leaves its choice.
  struct Choice {
    int* ids;
    float *weights, *margin;
  };

  void embed(const Stream& to, const void* tokens, bool wide_ids) const {
    run(to, "embedding", plan_portable_embed(config_.dtype, config_.hidden, wide_ids),
        PortableEmbedding{tokens, weights_.embedding, buffers_.x}, config_.rows);
  }

  void norm(const Stream& to, const float* x, const void* weight, float* out, int rows) const {
    run(to, "norm", plan_portable_norm(config_.dtype, config_.hidden), PortableNorm{x, weight, out, config_.eps}, rows);
  }

  /// out = m x, or out += m x.
  void product(const Stream& to, const char* name, const Matrix& m, const float* x, float* out, int rows,
               bool add) const {
    const PortableProduct params{m.data, x, nullptr, 0, nullptr, out, m.n, rows};
    if (rows <= portable_few_rows)
      run(to, name, plan_portable_gemv(m.format, config_.dtype, m.n, m.k, false, add), params, rows);
    else
      run(to, name, plan_portable_gemm(m.format, config_.dtype, m.n, m.k, rows, add), params, 1);
  }

  /// out = m norm(x); norm(x) is left in `normed` where rows are many, or `keep` asks for it.
  void normalised_product(const Stream& to, const char* name, const Matrix& m, const float* x, const void* weight,
                          float* normed, bool keep, float* out, int rows) const {
    if (rows > portable_few_rows) {
      norm(to, x, weight, normed, rows);
      product(to, name, m, normed, out, rows, false);
    } else {
      run(to, name, plan_portable_gemv(m.format, config_.dtype, m.n, m.k, true, false),
          PortableProduct{m.data, x, weight, config_.eps, keep ? normed : nullptr, out, m.n, rows}, rows);
    }
  }

  /// One layer over x in place; the residual stream that leaves it also goes to `tap`, unless that is null.
  void layer(const Stream& stream, std::size_t i, const Choice& choice, void* tap) const {
    const LayerWeights& w = weights_.layers[i];
    Stream to = stream;
    to.layer = static_cast<int>(i);
    normalised_product(to, "qkv", w.qkv, buffers_.x, w.input_norm, buffers_.normed, false, buffers_.qkv, config_.rows);
    attention(to, w);
    product(to, "attention_output", w.o, buffers_.attended, buffers_.x, config_.rows, true);
    if (!config_.has_experts()) {
      norm(to, buffers_.x, w.post_norm, buffers_.normed, config_.rows);
    } else {
      normalised_product(to, "router_logits", w.router, buffers_.x, w.post_norm, buffers_.normed, true, buffers_.router,
                         config_.rows);
      run(to, "route", plan_portable_route(config_.mlp),
          RouteParams{buffers_.router, choice.ids, choice.weights, choice.margin, config_.rows}, config_.rows);
    }
    config_.rows <= portable_few_rows ? few_rows(to, w, choice, tap) : many_rows(to, w, choice, tap);
  }

 private:
  template <class Params>
  void run(const Stream& to, const char* name, Plan plan, const Params& params, int rows) const {
    const Operation operation(library_, std::move(plan));
    if (to.names == nullptr)
      operation(to.stream, params, rows, to.overlap);
    else
      to.names->add(name, to.layer, operation.plan().expression);
  }

  void attention(const Stream& to, const LayerWeights& w) const {
    const AttentionShape& shape = config_.attention;
    const int blocks = position_blocks(config_.capacity);
    PortableAttention params{buffers_.qkv,
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
    const bool append = config_.rows <= portable_few_rows && tokens_ == 1;
    if (!append) run(to, "head_norm_rope", plan_portable_rope(config_.dtype, shape), params, config_.rows);
    for (int first = 0; first < config_.rows; first += portable_attention_rows) {
      const int rows = std::min(portable_attention_rows, config_.rows - first);
      params.first_row = first;
      run(to, "attention", plan_portable_attend(config_.dtype, shape, blocks, append), params, rows);
      run(to, "attention_join", plan_portable_join(shape), params, rows);
    }
  }

  void few_rows(const Stream& to, const LayerWeights& w, const Choice& choice, void* tap) const {
    PortableMoe params{};
    params.experts = w.experts;
    params.ids = config_.has_experts() ? choice.ids : nullptr;
    params.weights = choice.weights;
    params.x = buffers_.normed;
    params.activated = buffers_.gate;
    params.out = buffers_.x;
    params.tap = tap;
    params.rows = config_.rows;
    run(to, "gate_up", plan_portable_gate_up(w.gate_up, config_.dtype, config_.mlp), params, config_.rows);
    run(to, "down", plan_portable_down(w.down, config_.dtype, config_.mlp), params, config_.rows);
  }

  void many_rows(const Stream& to, const LayerWeights& w, const Choice& choice, void* tap) const {
    const MoeShape& m = config_.mlp;
    const int slots = config_.rows * m.top_k;
    const bool sparse = config_.has_experts();
    run(to, "sort_by_expert", plan_portable_group(m.experts),
        PortableGroups{sparse ? choice.ids : nullptr, buffers_.ends, buffers_.order, slots, m.experts}, 1);
    PortableGrouped params{
        w.experts, buffers_.normed, buffers_.gate, buffers_.ends, sparse ? buffers_.order : nullptr, nullptr, m.top_k,
        0,         m.intermediate,  m.experts};
    const auto up = plan_portable_grouped(w.gate_up, config_.dtype, m.intermediate, m.hidden, slots, m.experts);
    run(to, "gate", up, params, 1);
    params.out = buffers_.up;
    params.projection = 1;
    run(to, "up", up, params, 1);
    const long long count = static_cast<long long>(slots) * m.intermediate;
    run(to, "silu_mul", plan_portable_silu_mul(count),
        ElementwiseParams{buffers_.gate, buffers_.up, buffers_.gate, count}, 1);
    params.x = buffers_.gate;
    params.out = buffers_.outputs;
    params.projection = 2;
    params.in_rows = nullptr;
    params.out_rows = sparse ? buffers_.order : nullptr;
    params.n = m.hidden;
    run(to, "down", plan_portable_grouped(w.down, config_.dtype, m.hidden, m.intermediate, slots, m.experts), params,
        1);
    PortableMoe sum{};
    sum.ids = sparse ? choice.ids : nullptr;
    sum.weights = choice.weights;
    sum.outputs = buffers_.outputs;
    sum.out = buffers_.x;
    sum.tap = tap;
    run(to, "experts_sum", plan_portable_experts_sum(config_.dtype, m), sum, config_.rows);
  }

  Library& library_;
  const StepConfig& config_;
  const ModelWeights& weights_;
  const PortableBuffers& buffers_;
  int tokens_;
};

}  // namespace fpf::kernel
