// A decode step as its users see it: what it works on, where it leaves the signals.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fpf/evidence/signals.hpp>
#include <fpf/kernel/plan/step.hpp>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace fpf::engine {

/// Where a step leaves the signals of its rows, in one device buffer that is copied to the host whole. Keys stay in the
/// cache.
class TapLayout {
 public:
  /// A column of a signal: [rows, width] at each tapped layer, one layer after another; of the head's once.
  struct Field {
    const evidence::SignalInfo* info;
    std::size_t column;
    DType dtype;
    std::int64_t width;
    std::size_t offset;

    std::size_t row_bytes() const { return static_cast<std::size_t>(width) * size_of(dtype); }
  };

  explicit TapLayout(const kernel::StepConfig& config) : rows_(static_cast<std::size_t>(config.rows)) {
    using enum evidence::StoredSignal;
    using enum DType;
    const std::size_t layers = config.tapped.size();
    const int chosen = config.mlp.top_k, top = config.top_k;
    add(hidden_states, layers, {{config.dtype, config.hidden}});
    if (config.has_experts()) add(router, layers, {{int32, chosen}, {float32, chosen}, {float32, 1}});
    add(logprobs, 1, {{int32, top}, {float32, top}});
  }

  std::size_t bytes() const { return bytes_; }
  /// nullptr for what the step does not leave here.
  const Field* find(evidence::StoredSignal signal, std::size_t column) const {
    const auto found = std::ranges::find_if(
        fields_, [&](const Field& field) { return field.info->signal == signal && field.column == column; });
    return found == fields_.end() ? nullptr : &*found;
  }
  /// Where row 0 of a field begins, at the tapped layer of that number.
  std::size_t at(const Field& field, std::size_t layer = 0) const {
    return field.offset + layer * rows_ * field.row_bytes();
  }

 private:
  void add(evidence::StoredSignal signal, std::size_t layers, std::initializer_list<std::pair<DType, int>> columns) {
    std::size_t column = 0;
    for (const auto& [dtype, width] : columns) {
      const Field& field = fields_.emplace_back(Field{&evidence::info(signal), column++, dtype, width, bytes_});
      bytes_ += (layers * rows_ * field.row_bytes() + 15) / 16 * 16;
    }
  }

  std::size_t rows_, bytes_ = 0;
  std::vector<Field> fields_;
};

/// One decode step of a whole model, enqueued as often as wanted: token ids and positions are read from the device and
/// advanced there, so that a replay goes on where the last one ended.
class Step {
 public:
  virtual ~Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  const kernel::StepConfig& config() const { return config_; }
  const TapLayout& taps() const { return taps_; }
  const std::byte* tap_buffer() const { return tap_buffer_; }
  int* tokens() const { return tokens_; }  // [rows]: fed next; receives the chosen ones
  /// [rows]: where the fed tokens stand; incremented by a step.
  virtual int* position() const = 0;
  /// [rows, top_k]: ones for a dense MLP, set by the caller; null: not needed.
  virtual float* expert_weights() const = 0;
  /// Puts the step's kernels on a stream.
  virtual void enqueue(kernel::cuda::Stream stream) const = 0;
  /// OperationNames::table() of a step.
  virtual std::vector<std::pair<std::string, std::string>> operations() const = 0;

 protected:
  Step(kernel::StepConfig config, const kernel::Allocate& allocate)
      : config_(std::move(config)),
        taps_(config_),
        tap_buffer_(static_cast<std::byte*>(allocate(taps_.bytes()))),
        tokens_(static_cast<int*>(allocate(static_cast<std::size_t>(config_.rows) * 4))) {}

  /// Where the kernels write a column: where its signal is kept, so that taking it costs nothing, or to `otherwise` in
  /// layers that are not tapped.
  template <class T>
  T* place(evidence::StoredSignal signal, std::size_t column, std::size_t layer, T* otherwise) const {
    const auto tapped = std::ranges::find(config_.tapped, static_cast<int>(layer));
    const TapLayout::Field* field = taps_.find(signal, column);
    if (tapped == config_.tapped.end() || field == nullptr) return otherwise;
    return address<T>(taps_.at(*field, static_cast<std::size_t>(tapped - config_.tapped.begin())));
  }
  /// A column of the head's.
  template <class T>
  T* place(evidence::StoredSignal signal, std::size_t column) const {
    return address<T>(taps_.at(*taps_.find(signal, column)));
  }

 private:
  template <class T>
  T* address(std::size_t offset) const {
    return static_cast<T*>(static_cast<void*>(tap_buffer_ + offset));
  }

  kernel::StepConfig config_;
  TapLayout taps_;
  std::byte* tap_buffer_;
  int* tokens_;
};

}  // namespace fpf::engine
