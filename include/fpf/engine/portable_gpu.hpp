// The portable execution on a GPU: memory of a pass, the decode step, and prefill.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>

#include <fpf/device/kernels.hpp>
#include <fpf/engine/decoder.hpp>
#include <fpf/engine/portable_launches.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/taps.hpp>
#include <vector>

namespace fpf::engine {

/// Device memory of passes of that many rows.
class PortableMemory {
 public:
  explicit PortableMemory(const kernel::StepConfig& c, const kernel::Allocate& allocate) {
    const auto floats = [&](std::size_t count) { return static_cast<float*>(allocate(4 * count)); };
    const auto ints = [&](std::size_t count) { return static_cast<int*>(allocate(4 * count)); };
    const auto size = [](int value) { return static_cast<std::size_t>(value); };
    const std::size_t rows = size(c.rows), slots = rows * size(c.mlp.top_k), heads = size(c.attention.heads);
    const std::size_t d = size(c.attention.head_dim), all_heads = heads + 2 * size(c.attention.kv_heads);
    const std::size_t together = std::min(rows, size(portable_attention_rows));
    const std::size_t blocks = size(kernel::position_blocks(c.capacity));
    buffers_.x = floats(rows * size(c.hidden));
    buffers_.normed = floats(rows * size(c.hidden));
    buffers_.qkv = floats(rows * all_heads * d);
    buffers_.attended = floats(rows * heads * d);
    buffers_.partial = floats(together * heads * blocks * d);
    buffers_.stats = floats(together * heads * blocks * 2);
    buffers_.router = floats(rows * size(c.mlp.experts));
    buffers_.weights = floats(slots);
    buffers_.margin = floats(rows);
    buffers_.gate = floats(slots * size(c.mlp.intermediate));
    const bool many = c.rows > kernel::portable_few_rows;  // then up and the experts' outputs lie in memory
    buffers_.up = many ? floats(slots * size(c.mlp.intermediate)) : nullptr;
    buffers_.outputs = many ? floats(slots * size(c.mlp.hidden)) : nullptr;
    buffers_.ids = ints(slots);
    buffers_.ends = ints(size(c.mlp.experts));
    buffers_.order = ints(slots);
    buffers_.position = ints(rows);
  }

  const PortableBuffers& buffers() const { return buffers_; }

 private:
  PortableBuffers buffers_{};
};

/// The decode step of any number of rows.
class PortableStep final : public Step {
 public:
  PortableStep(kernel::Library& library, const kernel::StepConfig& config, kernel::ModelWeights weights,
               const kernel::Allocate& allocate)
      : Step(config, allocate), library_(library), weights_(std::move(weights)), memory_(config, allocate) {
    const auto rows = static_cast<std::size_t>(config.rows), vocabulary = static_cast<std::size_t>(config.vocabulary);
    logits_ = static_cast<float*>(allocate(rows * vocabulary * 4));
    sums_ = static_cast<float*>(allocate(rows * (vocabulary + 31) / 32 * 4 + 64));
    candidates_ = allocate(rows * 8 * static_cast<std::size_t>(kernel::portable_slices * config.top_k));
    operations();  // builds the kernels, before anything is captured
  }

  int* position() const override { return memory_.buffers().position; }
  float* expert_weights() const override { return nullptr; }
  void enqueue(kernel::cuda::Stream stream) const override { run({stream, nullptr, true}); }
  std::vector<std::pair<std::string, std::string>> operations() const override {
    kernel::OperationNames names;
    run({nullptr, &names});
    return names.table();
  }

 private:
  using Signal = evidence::StoredSignal;

  class StepWords : public PortableLaunches {
   public:
    StepWords(const PortableStep& step, const PortableStream& to)
        : PortableLaunches(step.library_, step.config(), step.weights_, step.memory_.buffers(), 1, to), s_(step) {}

    void embed() const { PortableLaunches::embed(s_.tokens(), false); }

    Delta feed_forward(std::size_t i, Normed n) const {
      const PortableBuffers& b = buffers();
      return PortableLaunches::feed_forward(
          i, n,
          {s_.place(Signal::router, 0, i, b.ids), s_.place(Signal::router, 1, i, b.weights),
           s_.place(Signal::router, 2, i, b.margin), s_.place<void>(Signal::hidden_states, 0, i, nullptr)});
    }

    void show(std::size_t) const {}  // kernels write where signals are kept

    float* head(Normed n) {
      leave_layers();
      const PortableBuffers& b = buffers();
      normalised_product("head", weights().head, b.x, n.weight, b.normed, false, s_.logits_, config().rows);
      return s_.logits_;
    }

    void log_probs() const {
      const kernel::PortableLogProbs top{s_.logits_,
                                         s_.candidates_,
                                         s_.sums_,
                                         s_.place<int>(Signal::logprobs, 0),
                                         s_.place<float>(Signal::logprobs, 1),
                                         s_.tokens(),
                                         buffers().position,
                                         config().vocabulary};
      const int vocabulary = config().vocabulary, k = config().top_k, rows = config().rows;
      run("top_of_slices", kernel::plan_portable_top_slices(vocabulary, k), top, rows);
      run("exponentials", kernel::plan_portable_exp_sums(vocabulary, k), top, rows);
      run("log_probs", kernel::plan_portable_log_probs(vocabulary, k), top, rows);
    }

   private:
    const PortableStep& s_;
  };

  void run(const PortableStream& to) const {
    StepWords words(*this, to);
    forward_pass(words);
    words.log_probs();
  }

  kernel::Library& library_;
  kernel::ModelWeights weights_;
  PortableMemory memory_;
  float *logits_, *sums_;
  void* candidates_;
};

/// A pass over many tokens.
class PortablePrefill : public PortableLaunches {
 public:
  /// tokens [batch, count] int64 on the library's GPU, at the positions from cache.length() on; `config` of batch *
  /// count rows.
  PortablePrefill(kernel::Library& library, kernel::cuda::Stream stream, const kernel::StepConfig& config,
                  const kernel::ModelWeights& weights, const PortableBuffers& buffers, const at::Tensor& tokens,
                  const model::KvCache& cache, std::int64_t logits_for, model::Taps* taps)
      : PortableLaunches(library, config, weights, buffers, static_cast<int>(tokens.size(1)), {stream}),
        tokens_(tokens.contiguous()),
        cache_(cache),
        logits_for_(logits_for),
        taps_(taps) {}

  void embed() const {
    const at::Tensor position = at::arange(cache_.length(), cache_.length() + count(), like(at::kInt));
    view(buffers().position, {batch(), count()}, at::kInt).copy_(position.unsqueeze(0).expand({batch(), count()}));
    PortableLaunches::embed(tokens_.const_data_ptr(), true);
  }

  Delta feed_forward(std::size_t i, Normed n) {
    const bool wanted = taps_ != nullptr && taps_->wants(static_cast<std::int64_t>(i));
    leaving_ = wanted ? at::empty({batch(), count(), config().hidden}, like(device::scalar_type(config().dtype)))
                      : at::Tensor();
    const PortableBuffers& b = buffers();
    return PortableLaunches::feed_forward(i, n, {b.ids, b.weights, b.margin, wanted ? leaving_.data_ptr() : nullptr});
  }

  void show(std::size_t i) const {
    if (!leaving_.defined()) return;
    const std::int64_t rows = batch() * count(), k = config().mlp.top_k;
    const PortableBuffers& b = buffers();
    const execution::Routing routing{view(b.ids, {rows, k}, at::kInt), view(b.weights, {rows, k}, at::kFloat),
                                     view(b.margin, {rows}, at::kFloat)};
    show_layer(*taps_, static_cast<std::int64_t>(i), cache_, {}, config().attention.kv_heads,
               config().has_experts() ? &routing : nullptr, leaving_);
  }

  /// -> [batch, logits_for, vocabulary] float32
  at::Tensor head(Normed n) {
    leave_layers();
    const at::Tensor x = view(buffers().x, {batch(), count(), config().hidden}, at::kFloat);
    const at::Tensor last = x.narrow(1, count() - logits_for_, logits_for_).contiguous();
    at::Tensor normed = at::empty_like(last);
    at::Tensor logits = at::empty({batch(), logits_for_, config().vocabulary}, last.options());
    normalised_product("head", weights().head, last.const_data_ptr<float>(), n.weight, normed.data_ptr<float>(), false,
                       logits.data_ptr<float>(), static_cast<int>(batch() * logits_for_));
    return logits;
  }

 private:
  std::int64_t batch() const { return tokens_.size(0); }
  std::int64_t count() const { return tokens_.size(1); }
  at::TensorOptions like(at::ScalarType type) const { return at::TensorOptions(type).device(tokens_.device()); }
  at::Tensor view(void* from, at::IntArrayRef sizes, at::ScalarType type) const {
    return at::from_blob(from, sizes, like(type));
  }

  at::Tensor tokens_;
  const model::KvCache& cache_;
  std::int64_t logits_for_;
  model::Taps* taps_;
  at::Tensor leaving_;  // the residual stream that leaves the layer at hand, where it is wanted
};

/// The logits of a prefill with memory of its own. `config`: of tokens.numel() rows; its capacity is set here. Does not
/// advance the cache.
inline at::Tensor portable_prefill(kernel::Library& library, kernel::cuda::Stream stream, kernel::StepConfig config,
                                   const kernel::ModelWeights& weights, const at::Tensor& tokens,
                                   const model::KvCache& cache, std::int64_t logits_for, model::Taps* taps) {
  config.capacity = static_cast<int>(cache.length() + tokens.size(1));
  std::vector<at::Tensor> kept;
  const PortableMemory memory(config, [&](std::size_t bytes) -> void* {
    kept.push_back(
        at::empty({static_cast<std::int64_t>(bytes) + 16}, at::TensorOptions(at::kByte).device(tokens.device())));
    return kept.back().data_ptr();
  });
  PortablePrefill words(library, stream, config, weights, memory.buffers(), tokens, cache, logits_for, taps);
  return forward_pass(words);
}

}  // namespace fpf::engine
