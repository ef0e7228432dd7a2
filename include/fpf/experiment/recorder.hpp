// Takes the signals of sequence 0 from a run's forward passes into memory, each position once.
#pragma once

#include <algorithm>
#include <fpf/engine/decoder.hpp>
#include <fpf/evidence/signals.hpp>
#include <fpf/model/taps.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

namespace fpf {

/// A run's passes go through one recorder: start_pass(), the decoder's taps, then next_tokens() with the
/// logits.
class Recorder : public model::Taps {
 public:
  /// `decoded_in_prefill`: positions behind the prompt that the first pass computes, too (re-execution).
  Recorder(const model::ModelConfig& config, const std::vector<std::int64_t>& layers, std::int64_t top_k,
           std::int64_t prompt_tokens, std::int64_t decoded_in_prefill = 0)
      : experts_(config.is_moe()), decoded_in_prefill_(decoded_in_prefill) {
    signals_.prompt_tokens = prompt_tokens;
    signals_.logprobs.k = std::min(top_k, config.vocab_size);
    for (const std::int64_t layer : layers) signals_.layers.push_back({.layer = layer});
  }

  /// Announces a forward pass over `count` tokens a sequence. Of the prompt, the last two positions are kept, and
  /// all behind it.
  void start_pass(std::int64_t count) {
    decoding_ = signals_.logprobs.ids.size() != 0;
    first_ = count - kept();
  }
  /// How many positions of the announced pass leave signals.
  std::int64_t kept() const { return decoding_ ? 1 : evidence::look_back - 1 + decoded_in_prefill_; }

  bool wants(std::int64_t layer) const override { return place_of(layer).has_value(); }

  void take(evidence::StoredSignal signal, std::int64_t layer, const std::vector<at::Tensor>& columns) override {
    // Signals at which steps look back less far leave the prompt's last positions out.
    const std::int64_t left_out = decoding_ ? 0 : evidence::look_back - evidence::info(signal).look_back;
    if (kept() == left_out) return;
    std::vector<at::Tensor> rows;
    for (const at::Tensor& column : columns)
      rows.push_back(column.select(0, 0).narrow(0, first_ + left_out, kept() - left_out));
    append(signal, *place_of(layer), rows);
  }

  /// logits [batch, positions, vocab] of the decoder's pass -> the next token of every sequence, [batch] int64,
  /// greedily (the first of the recorded log-probabilities; ties to the lower id). Sequence 0's top-k go into
  /// the evidence.
  at::Tensor next_tokens(const engine::Decoder& decoder, const at::Tensor& logits) {
    const std::int64_t positions = logits.size(1);
    const execution::TopK top = decoder.log_probs(logits.flatten(0, 1), signals_.logprobs.k);
    append(evidence::StoredSignal::logprobs, 0,
           {top.indices.narrow(0, 0, positions), top.values.narrow(0, 0, positions)});
    return top.indices.select(1, 0).view({-1, positions}).select(1, positions - 1).contiguous();
  }

  /// Takes what a step on a GPU left of row 0: its tap buffer, on the host. Returns the token it chose.
  std::int32_t gpu_step(const engine::TapLayout& layout, const std::byte* taps) {
    for (const evidence::SignalInfo& info : evidence::signal_table)
      for (std::size_t place = 0; place < (info.per_layer ? signals_.layers.size() : 1); ++place) {
        std::vector<evidence::Column> rows;
        while (const auto* field = layout.find(info.signal, rows.size()))
          rows.push_back({field->dtype, field->width, std::span(taps + layout.at(*field, place), field->row_bytes())});
        if (!rows.empty()) info.append(signals_, place, rows);
      }
    return signals_.logprobs.ids[signals_.logprobs.ids.size() - static_cast<std::size_t>(signals_.logprobs.k)];
  }

  /// The keys that the ranks' caches hold of sequence 0 at positions from `begin` on: where decoding on a GPU left
  /// them.
  void gpu_keys(const engine::Decoder& decoder, const model::KvCache& cache, std::int64_t begin, std::int64_t count) {
    for (std::size_t place = 0; place < signals_.layers.size(); ++place) {
      const at::Tensor own =
          cache.keys(signals_.layers[place].layer, begin + count).narrow(0, 0, 1).narrow(2, begin, count);
      const at::Tensor all = decoder.collectives().gather_keys(own, decoder.config().num_kv_heads);
      append(evidence::StoredSignal::key_vectors, place, {all.select(0, 0).transpose(0, 1)});
    }
  }

  void token(std::int64_t id) { signals_.token_ids.push_back(static_cast<std::int32_t>(id)); }

  /// What was recorded. Throws std::logic_error for a signal of which an engine left some positions, or all, out.
  evidence::Signals take() {
    for (const evidence::SignalInfo& info : evidence::signal_table)
      for (std::size_t place = 0; place < (info.per_layer ? signals_.layers.size() : 1); ++place) {
        const std::int64_t wanted = info.of_experts && !experts_ ? 0 : signals_.steps() + info.look_back - 1;
        const auto columns = info.columns(signals_, place);
        const bool whole =
            std::ranges::all_of(columns, [&](const evidence::Column& column) { return column.rows() == wanted; });
        if (!whole || (columns.empty() && wanted != 0))
          throw std::logic_error(
              fmt::format("an engine left rows of {} out: expected {} at each layer", info.name, wanted));
      }
    return std::move(signals_);
  }

 private:
  std::optional<std::size_t> place_of(std::int64_t layer) const {
    const auto found = std::ranges::find(signals_.layers, layer, &evidence::LayerSignals::layer);
    if (found == signals_.layers.end()) return std::nullopt;
    return static_cast<std::size_t>(found - signals_.layers.begin());
  }

  /// Rows [positions, ...] behind those that are there, in the dtypes of the signal's fields.
  void append(evidence::StoredSignal signal, std::size_t place, const std::vector<at::Tensor>& rows) {
    using Type = evidence::SignalField::Type;
    const evidence::SignalInfo& info = evidence::info(signal);
    std::vector<at::Tensor> host;
    std::vector<evidence::Column> columns;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Type type = info.fields()[i].type;
      const bool ids = type == Type::int32;
      const at::ScalarType stored = ids ? at::kInt : type == Type::float32 ? at::kFloat : rows[i].scalar_type();
      const at::Tensor& t = host.emplace_back(rows[i].to(at::kCPU, stored).contiguous());
      columns.push_back({ids ? DType::int32 : device::dtype_of(stored),
                         t.numel() / std::max<std::int64_t>(t.size(0), 1),
                         std::span(static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes())});
    }
    info.append(signals_, place, columns);
  }

  evidence::Signals signals_;
  bool experts_;
  std::int64_t decoded_in_prefill_;
  bool decoding_ = false;
  std::int64_t first_ = 0;
};

}  // namespace fpf
