// The signals of one repetition, each position once: what a run leaves behind as evidence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fpf/core/dtype.hpp>
#include <optional>
#include <span>
#include <vector>

namespace fpf::evidence {

/// The plan looks back over this many positions at every decode step: pos_-3, pos_-2 and pos_-1.
inline constexpr std::int64_t look_back = 3;

/// Vectors of one signal at one layer, one row a position: [rows, width], little-endian, in the signal's own dtype.
struct VectorRows {
  DType dtype = DType::float32;
  std::int64_t width = 0;
  std::vector<std::byte> bytes{};

  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * size_of(dtype); }
  std::int64_t rows() const { return width == 0 ? 0 : static_cast<std::int64_t>(bytes.size() / row_bytes()); }
  std::span<const std::byte> row(std::int64_t index) const {
    return std::span(bytes).subspan(static_cast<std::size_t>(index) * row_bytes(), row_bytes());
  }
};

/// Top-k log-probabilities of the next token: ids and values [rows, k], descending, ties by the lower id.
struct LogProbRows {
  std::int64_t k = 0;
  std::vector<std::int32_t> ids{};
  std::vector<float> values{};
};

/// The experts one layer's router chose, one row a decoded position.
struct RouterRows {
  std::int64_t k = 0;
  std::vector<std::int32_t> expert_ids{};  // [rows, k], by descending weight
  std::vector<float> weights{};            // [rows, k], as the experts' sums use them
  std::vector<float> margin{};             // [rows], logit of the last chosen less that of the first rejected
};

struct LayerSignals {
  std::int64_t layer = 0;
  VectorRows hidden{};  // [steps + 2, hidden_size]: residual stream leaving the layer
  VectorRows keys{};    // [steps + 2, kv_heads * head_dim]: as the cache holds them
  std::optional<RouterRows> router{};
};

/// One repetition. Row r of a signal is absolute position prompt_tokens - 2 + r, so that decode step s
/// (which feeds token_ids[s] at position prompt_tokens + s) sees rows s, s + 1 and s + 2 as pos_-3, -2 and -1.
/// Router rows start at position prompt_tokens.
struct Signals {
  std::int64_t prompt_tokens = 0;
  std::vector<std::int32_t> token_ids{};  // [steps]
  std::vector<LayerSignals> layers{};
  LogProbRows logprobs{};

  std::int64_t steps() const { return static_cast<std::int64_t>(token_ids.size()); }
  std::int64_t rows() const { return steps() + look_back - 1; }
};

/// Seconds of one repetition.
struct Timing {
  double total = 0;
  double prefill = 0;
  double decode = 0;
};

}  // namespace fpf::evidence
