// How well a model predicts a text: the measure of what a quantisation lost.
#pragma once

#include <ATen/ops/log_softmax.h>

#include <cmath>
#include <fpf/attention/flash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/model/tokens.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/schemes.hpp>

namespace fpf::checkpoint {

/// exp of the mean negative log-likelihood of each token but the first of every window, given those before it
/// in the window. Activations and dequantised weights in float32.
inline double perplexity(const model::Checkpoint& checkpoint, const model::Windows& windows, Verbosity verbosity) {
  const c10::InferenceMode guard;
  const engine::Numerics numerics{quant::scheme_of(checkpoint.config().quantization),
                                  attention::kernel<attention::Flash>(), execution::policy<execution::Eager>()};
  const auto decoder = engine::DecoderFactory<>::make(numerics, checkpoint, parallel::Rank::alone(checkpoint.config()),
                                                      at::kFloat, at::kCPU);
  Progress progress("perplexity of " + checkpoint.id(), static_cast<std::int64_t>(windows.size()), verbosity);
  double sum = 0;
  std::int64_t predicted = 0;
  for (const auto& window : windows) {
    check_interrupt();
    const auto length = static_cast<std::int64_t>(window.size());
    const at::Tensor tokens = model::batch_of({window});
    model::KvCache cache = decoder->make_cache(1, length);
    const at::Tensor logits = decoder->forward(tokens, cache, length, nullptr);
    const at::Tensor next = tokens.narrow(1, 1, length - 1).unsqueeze(-1);
    sum -= at::log_softmax(logits.narrow(1, 0, length - 1), -1).gather(-1, next).sum(at::kDouble).item<double>();
    predicted += length - 1;
    progress.advance();
  }
  return std::exp(sum / static_cast<double>(predicted));
}

/// A text's perplexity before and after.
struct PerplexityChange {
  double source = 0, result = 0;
  double percent() const { return 100 * (result / source - 1); }
};

inline PerplexityChange compare_perplexity(const model::Checkpoint& source, const model::Checkpoint& result,
                                           const model::Windows& windows, Verbosity verbosity) {
  const double before = perplexity(source, windows, verbosity);
  return {before, perplexity(result, windows, verbosity)};
}

}  // namespace fpf::checkpoint
