// Takes the signals of sequence 0 from a run's forward passes into memory, each position once.
#pragma once

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <fpf/evidence/signals.hpp>
#include <fpf/kernel/step_layout.hpp>
#include <fpf/model/any_decoder.hpp>
#include <fpf/model/taps.hpp>
#include <fpf/quant/dense.hpp>
#include <vector>

namespace fpf {

/// A run's passes go through one recorder: start_pass(), the decoder's taps, then next_tokens() with the
/// logits.
class Recorder : public model::Taps {
 public:
  /// `decoded_in_prefill`: positions behind the prompt that the first pass computes, too (re-execution).
  Recorder(const model::ModelConfig& config, DType dtype, const std::vector<std::int64_t>& layers, std::int64_t top_k,
           std::int64_t prompt_tokens, std::int64_t decoded_in_prefill = 0)
      : decoded_in_prefill_(decoded_in_prefill) {
    signals_.prompt_tokens = prompt_tokens;
    signals_.logprobs.k = std::min(top_k, config.vocab_size);
    for (const std::int64_t layer : layers) {
      evidence::LayerSignals entry{layer, {dtype, config.hidden_size}, {dtype, config.kv_size()}};
      if (config.is_moe()) entry.router.emplace().k = config.experts_per_token;
      signals_.layers.push_back(std::move(entry));
    }
  }

  /// Announces a forward pass over `count` tokens a sequence. Of the prompt, the last two positions are kept, and
  /// all behind it.
  void start_pass(std::int64_t count) {
    decoding_ = signals_.logprobs.ids.size() != 0;
    first_ = count - kept();
  }
  /// How many positions of the announced pass leave signals.
  std::int64_t kept() const { return decoding_ ? 1 : evidence::look_back - 1 + decoded_in_prefill_; }

  bool wants(std::int64_t layer) const override { return find(layer) != nullptr; }

  void hidden(std::int64_t layer, const at::Tensor& x) override {
    append(find(layer)->hidden, x.select(0, 0).narrow(0, first_, kept()));
  }

  void key(std::int64_t layer, const at::Tensor& k) override {
    append(find(layer)->keys, k.select(0, 0).narrow(1, first_, kept()).transpose(0, 1));
  }

  void router(std::int64_t layer, const execution::Routing& routing) override {
    const std::int64_t prompt = decoding_ ? 0 : evidence::look_back - 1;  // positions without router rows
    const std::int64_t first = first_ + prompt, count = kept() - prompt;
    if (count == 0) return;
    evidence::RouterRows& rows = *find(layer)->router;
    append(rows.expert_ids, routing.expert_ids.narrow(0, first, count).to(at::kInt));
    append(rows.weights, routing.weights.narrow(0, first, count).to(at::kFloat));
    append(rows.margin, routing.margin.narrow(0, first, count));
  }

  /// logits [batch, positions, vocab] of the decoder's pass -> the next token of every sequence, [batch] int64,
  /// greedily (the first of the recorded log-probabilities; ties to the lower id). Sequence 0's top-k go into
  /// the evidence.
  at::Tensor next_tokens(const model::AnyDecoder& decoder, const at::Tensor& logits) {
    const std::int64_t positions = logits.size(1);
    const execution::TopK top = decoder.log_probs(logits.flatten(0, 1), signals_.logprobs.k);
    append(signals_.logprobs.ids, top.indices.narrow(0, 0, positions).to(at::kInt));
    append(signals_.logprobs.values, top.values.narrow(0, 0, positions));
    return top.indices.select(1, 0).view({-1, positions}).select(1, positions - 1).contiguous();
  }

  /// Takes what a step on a GPU left: its tap buffer, on the host. Returns the token it chose for row 0.
  std::int32_t gpu_step(const kernel::TapLayout& layout, const std::byte* taps) {
    const auto k = static_cast<std::size_t>(layout.experts_per_token),
               top = static_cast<std::size_t>(signals_.logprobs.k);
    const std::size_t choices = k * static_cast<std::size_t>(layout.rows);
    for (std::size_t i = 0; i < signals_.layers.size(); ++i) {
      evidence::LayerSignals& layer = signals_.layers[i];
      const std::byte* hidden = taps + layout.hidden + i * static_cast<std::size_t>(layout.rows) * layout.hidden_bytes;
      layer.hidden.bytes.insert(layer.hidden.bytes.end(), hidden, hidden + layout.hidden_bytes);
      if (!layer.router) continue;
      append(layer.router->expert_ids, taps + layout.expert_ids + i * choices * 4, k);
      append(layer.router->weights, taps + layout.weights + i * choices * 4, k);
      append(layer.router->margin, taps + layout.margin + i * static_cast<std::size_t>(layout.rows) * 4, 1);
    }
    append(signals_.logprobs.ids, taps + layout.ids, top);
    append(signals_.logprobs.values, taps + layout.log_probs, top);
    return signals_.logprobs.ids[signals_.logprobs.ids.size() - top];
  }

  /// The keys that the ranks' caches hold of sequence 0 at positions from `begin` on: where decoding on a GPU left them.
  void gpu_keys(const model::AnyDecoder& decoder, const model::KvCache& cache, std::int64_t begin, std::int64_t count) {
    for (evidence::LayerSignals& layer : signals_.layers) {
      const at::Tensor own = cache.keys(layer.layer, begin + count).narrow(0, 0, 1).narrow(2, begin, count);
      const at::Tensor all = decoder.collectives().gather_keys(own, decoder.config().num_kv_heads);
      append(layer.keys, all.select(0, 0).transpose(0, 1));
    }
  }

  void token(std::int64_t id) { signals_.token_ids.push_back(static_cast<std::int32_t>(id)); }

  evidence::Signals take() { return std::move(signals_); }

 private:
  const evidence::LayerSignals* find(std::int64_t layer) const {
    for (const auto& entry : signals_.layers)
      if (entry.layer == layer) return &entry;
    return nullptr;
  }
  evidence::LayerSignals* find(std::int64_t layer) {
    return const_cast<evidence::LayerSignals*>(std::as_const(*this).find(layer));
  }

  static void append(evidence::VectorRows& rows, const at::Tensor& values) {
    const at::Tensor host = values.cpu().contiguous();
    const auto* begin = static_cast<const std::byte*>(host.const_data_ptr());
    rows.bytes.insert(rows.bytes.end(), begin, begin + host.nbytes());
  }

  template <class T>
  static void append(std::vector<T>& to, const at::Tensor& values) {
    const at::Tensor host = values.cpu().contiguous();
    const T* begin = host.const_data_ptr<T>();
    to.insert(to.end(), begin, begin + host.numel());
  }

  template <class T>
  static void append(std::vector<T>& to, const std::byte* from, std::size_t count) {
    to.resize(to.size() + count);
    std::memcpy(to.data() + (to.size() - count), from, count * sizeof(T));
  }

  evidence::Signals signals_;
  std::int64_t decoded_in_prefill_;
  bool decoding_ = false;
  std::int64_t first_ = 0;
};

}  // namespace fpf
