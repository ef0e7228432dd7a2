// How well a model predicts a text: the measure of what a quantisation lost.
#pragma once

#include <ATen/ops/log_softmax.h>

#include <cmath>
#include <fpf/attention/flash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/model/decoder.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/select.hpp>
#include <span>
#include <vector>

namespace fpf::model {

/// `count` windows of `length` tokens, evenly spread over a text. Throws Error when it is shorter than they
/// are together.
inline std::vector<std::vector<std::int32_t>> spread_windows(std::span<const std::int32_t> ids,
                                                             std::size_t count, std::size_t length,
                                                             const std::string& name) {
  if (ids.size() < count * length)
    fail("{} has {} tokens: expected at least {} ({} windows of {})", name, ids.size(), count * length, count,
         length);
  std::vector<std::vector<std::int32_t>> out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto window = ids.subspan(ids.size() / count * i, length);
    out.emplace_back(window.begin(), window.end());
  }
  return out;
}

/// exp of the mean negative log-likelihood of each token but the first of every window, given those before it
/// in the window. Activations and dequantised weights in float32.
inline double perplexity(const Checkpoint& checkpoint, const std::vector<std::vector<std::int32_t>>& windows,
                         Verbosity verbosity) {
  const c10::InferenceMode guard;
  return quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    Decoder<Quant, attention::Flash, parallel::Single, execution::Eager> decoder(
        checkpoint, parallel::Single{}, at::kFloat, at::kCPU);
    Progress progress("perplexity of " + checkpoint.id(), static_cast<std::int64_t>(windows.size()),
                      verbosity);
    double sum = 0;
    std::int64_t predicted = 0;
    for (const auto& window : windows) {
      check_interrupt();
      const auto length = static_cast<std::int64_t>(window.size());
      at::Tensor tokens = at::empty({1, length}, at::kLong);
      std::copy(window.begin(), window.end(), tokens.data_ptr<std::int64_t>());
      KvCache cache = decoder.make_cache(1, length);
      const at::Tensor logits = decoder.forward(tokens, cache, length, nullptr);
      const at::Tensor next = tokens.narrow(1, 1, length - 1).unsqueeze(-1);
      sum -= at::log_softmax(logits.narrow(1, 0, length - 1), -1)
                 .gather(-1, next)
                 .sum(at::kDouble)
                 .item<double>();
      predicted += length - 1;
      progress.advance();
    }
    return std::exp(sum / static_cast<double>(predicted));
  });
}

}  // namespace fpf::model
