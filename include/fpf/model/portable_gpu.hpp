// The portable execution on a GPU: memory of a pass, the decode step, and prefill.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <fpf/device/kernels.hpp>
#include <fpf/kernel/portable_pass.hpp>
#include <fpf/model/config.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/taps.hpp>
#include <functional>
#include <vector>

namespace fpf::model {

/// Device memory of passes of that many rows.
class PortableMemory {
 public:
  explicit PortableMemory(const kernel::StepConfig& c, const std::function<void*(std::size_t)>& allocate) {
    const auto floats = [&](std::size_t count) { return static_cast<float*>(allocate(4 * count)); };
    const auto ints = [&](std::size_t count) { return static_cast<int*>(allocate(4 * count)); };
    const auto size = [](int value) { return static_cast<std::size_t>(value); };
    const std::size_t rows = size(c.rows), slots = rows * size(c.mlp.top_k), heads = size(c.attention.heads);
    const std::size_t d = size(c.attention.head_dim), all_heads = heads + 2 * size(c.attention.kv_heads);
    const std::size_t together = std::min(rows, size(kernel::portable_attention_rows));
    const std::size_t blocks = (size(c.capacity) + 63) / 64;
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

  const kernel::PortableBuffers& buffers() const { return buffers_; }

 private:
  kernel::PortableBuffers buffers_{};
};

/// The decode step of any number of rows.
class PortableStep final : public kernel::AnyStep {
 public:
  using Allocate = std::function<void*(std::size_t bytes)>;

  PortableStep(kernel::Library& library, const kernel::StepConfig& config, kernel::ModelWeights weights,
               const Allocate& allocate)
      : library_(library),
        config_(config),
        weights_(std::move(weights)),
        taps_(config_),
        memory_(config_, allocate),
        pass_(library_, config_, weights_, memory_.buffers(), 1) {
    const auto rows = static_cast<std::size_t>(config_.rows), vocabulary = static_cast<std::size_t>(config_.vocabulary);
    logits_ = static_cast<float*>(allocate(rows * vocabulary * 4));
    sums_ = static_cast<float*>(allocate(rows * (vocabulary + 31) / 32 * 4 + 64));
    candidates_ = allocate(rows * 8 * static_cast<std::size_t>(kernel::portable_slices * config_.top_k));
    tap_buffer_ = static_cast<std::byte*>(allocate(taps_.bytes));
    tokens_ = static_cast<int*>(allocate(rows * 4));
    operations();  // builds the kernels, before anything is captured
  }

  const kernel::StepConfig& config() const override { return config_; }
  const kernel::TapLayout& taps() const override { return taps_; }
  const std::byte* tap_buffer() const override { return tap_buffer_; }
  int* tokens() const override { return tokens_; }
  int* position() const override { return memory_.buffers().position; }
  float* expert_weights() const override { return nullptr; }
  void enqueue(kernel::cuda::Stream stream) const override { run({stream, nullptr, true}); }
  std::vector<std::pair<std::string, std::string>> operations() const override {
    kernel::OperationNames names;
    run({nullptr, &names});
    return names.table();
  }

 private:
  template <class T>
  T* tap(std::size_t offset) const {
    return reinterpret_cast<T*>(tap_buffer_ + offset);
  }

  void run(const kernel::PortablePass::Stream& to) const {
    const kernel::PortableBuffers& b = memory_.buffers();
    pass_.embed(to, tokens_, false);
    const auto rows = static_cast<std::size_t>(config_.rows);
    const std::size_t choices = rows * static_cast<std::size_t>(config_.mlp.top_k) * 4;
    std::size_t place = 0;
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      const bool tapped = place < config_.tapped.size() && config_.tapped[place] == static_cast<int>(i);
      kernel::PortablePass::Choice choice{b.ids, b.weights, b.margin};
      if (tapped && config_.has_experts())
        choice = {tap<int>(taps_.expert_ids + place * choices), tap<float>(taps_.weights + place * choices),
                  tap<float>(taps_.margin + place * rows * 4)};
      pass_.layer(to, i, choice, tapped ? tap_buffer_ + taps_.hidden + place * rows * taps_.hidden_bytes : nullptr);
      place += tapped;
    }
    pass_.normalised_product(to, "head", weights_.head, b.x, weights_.final_norm, b.normed, false, logits_,
                             config_.rows);
    const kernel::PortableLogProbs top{
        logits_,    candidates_,       sums_, tap<int>(taps_.ids), tap<float>(taps_.log_probs), tokens_,
        b.position, config_.vocabulary};
    const auto launch = [&](const char* name, kernel::Plan plan) {
      const kernel::Operation operation(library_, std::move(plan));
      if (to.names == nullptr)
        operation(to.stream, top, config_.rows, to.overlap);
      else
        to.names->add(name, -1, operation.plan().expression);
    };
    launch("top_of_slices", kernel::plan_portable_top_slices(config_.vocabulary, config_.top_k));
    launch("exponentials", kernel::plan_portable_exp_sums(config_.vocabulary, config_.top_k));
    launch("log_probs", kernel::plan_portable_log_probs(config_.vocabulary, config_.top_k));
  }

  kernel::Library& library_;
  kernel::StepConfig config_;
  kernel::ModelWeights weights_;
  kernel::TapLayout taps_;
  PortableMemory memory_;
  kernel::PortablePass pass_;
  float *logits_, *sums_;
  void* candidates_;
  std::byte* tap_buffer_;
  int* tokens_;
};

/// What a pass over many tokens is told beside its tensors.
struct PortableForward {
  kernel::Library& library;
  kernel::cuda::Stream stream;
  kernel::StepConfig config;  // rows are set here
  const kernel::ModelWeights& weights;
  std::int64_t logits_for;
  Taps* taps;
  std::function<void(std::int64_t layer)> tap_key;  // of that layer, from the cache
};

/// tokens [batch, count] int64 on the library's GPU at the positions from cache.length() on -> logits [batch, logits_for, vocabulary]
/// float32. Does not advance the cache.
inline at::Tensor portable_forward(PortableForward f, const at::Tensor& tokens, const KvCache& cache) {
  const at::Device device = tokens.device();
  const std::int64_t batch = tokens.size(0), count = tokens.size(1), rows = batch * count;
  f.config.rows = static_cast<int>(rows);
  f.config.capacity = static_cast<int>(cache.length() + count);
  std::vector<at::Tensor> kept;
  const PortableMemory memory(f.config, [&](std::size_t bytes) -> void* {
    kept.push_back(at::empty({static_cast<std::int64_t>(bytes) + 16}, at::TensorOptions(at::kByte).device(device)));
    return kept.back().data_ptr();
  });
  const kernel::PortableBuffers& b = memory.buffers();
  const auto view = [&](void* from, at::IntArrayRef sizes, at::ScalarType type) {
    return at::from_blob(from, sizes, at::TensorOptions(type).device(device));
  };
  at::Tensor position = at::arange(cache.length(), cache.length() + count, at::TensorOptions(at::kInt).device(device));
  view(b.position, {batch, count}, at::kInt).copy_(position.unsqueeze(0).expand({batch, count}));
  const kernel::PortablePass pass(f.library, f.config, f.weights, b, static_cast<int>(count));
  const kernel::PortablePass::Stream to{f.stream, nullptr};
  const at::Tensor ids = tokens.contiguous();
  pass.embed(to, ids.const_data_ptr(), true);
  const std::int64_t hidden = f.config.hidden, k = f.config.mlp.top_k;
  const at::ScalarType type = device::scalar_type(f.config.dtype);
  for (std::size_t i = 0; i < f.weights.layers.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    Taps* const tap = f.taps != nullptr && f.taps->wants(index) ? f.taps : nullptr;
    at::Tensor leaving;
    if (tap != nullptr) leaving = at::empty({batch, count, hidden}, at::TensorOptions(type).device(device));
    pass.layer(to, i, {b.ids, b.weights, b.margin}, tap != nullptr ? leaving.data_ptr() : nullptr);
    if (tap == nullptr) continue;
    f.tap_key(index);
    if (f.config.has_experts())
      tap->router(index, {view(b.ids, {rows, k}, at::kInt), view(b.weights, {rows, k}, at::kFloat),
                          view(b.margin, {rows}, at::kFloat)});
    tap->hidden(index, leaving);
  }
  const at::Tensor x = view(b.x, {batch, count, hidden}, at::kFloat);
  const at::Tensor last = x.narrow(1, count - f.logits_for, f.logits_for).contiguous();
  at::Tensor normed = at::empty_like(last);
  const int few = static_cast<int>(batch * f.logits_for);
  at::Tensor logits = at::empty({batch, f.logits_for, f.config.vocabulary}, last.options());
  pass.normalised_product(to, "head", f.weights.head, last.const_data_ptr<float>(), f.weights.final_norm,
                          normed.data_ptr<float>(), false, logits.data_ptr<float>(), few);
  return logits;
}

}  // namespace fpf::model
