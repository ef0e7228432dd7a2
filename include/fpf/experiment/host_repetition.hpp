// A repetition on the CPU: prefill and decode by the forward pass; and re-execution as one prefill.
#pragma once

#include <c10/core/InferenceMode.h>

#include <fpf/core/interrupt.hpp>
#include <fpf/engine/decoder.hpp>
#include <fpf/experiment/recorder.hpp>
#include <fpf/experiment/repetitions.hpp>
#include <fpf/experiment/settings.hpp>
#include <fpf/model/tokens.hpp>
#include <functional>

namespace fpf {

namespace detail {
using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
}  // namespace detail

/// One rank's repetition; see Session::run.
inline Repetition run_on_host(engine::Decoder& decoder, const RunSettings& settings,
                              const std::vector<std::vector<std::int32_t>>& prompts,
                              const std::vector<std::int32_t>& forced, const std::function<void()>& step_done) {
  const c10::InferenceMode guard;
  const at::Tensor prompt = model::batch_of(prompts);
  const std::int64_t batch = prompt.size(0), length = prompt.size(1);
  model::KvCache cache = decoder.make_cache(batch, length + settings.decode_steps);
  Recorder recorder(decoder.config(), settings.layers, settings.top_k, length);

  const auto start = detail::Clock::now();
  recorder.start_pass(length);
  at::Tensor next = recorder.next_tokens(decoder, decoder.forward(prompt, cache, recorder.kept(), &recorder));
  Repetition out;
  out.timing.prefill = detail::seconds_since(start);
  out.passes.push_back({start, detail::Clock::now()});
  step_done();
  for (std::int64_t step = 0; step < settings.decode_steps; ++step) {
    check_interrupt();
    if (!forced.empty()) next.select(0, 0).fill_(forced.at(static_cast<std::size_t>(step)));
    recorder.token(next.const_data_ptr<std::int64_t>()[0]);
    const auto begin = detail::Clock::now();
    recorder.start_pass(1);
    next = recorder.next_tokens(decoder, decoder.forward(next.unsqueeze(1), cache, 1, &recorder));
    out.passes.push_back({begin, detail::Clock::now()});
    step_done();
  }
  out.timing.total = detail::seconds_since(start);
  out.timing.decode = out.timing.total - out.timing.prefill;
  out.signals = recorder.take();
  return out;
}

/// One rank's re-execution: the prompt and the tokens that were decoded behind it in one prefill, on any device.
/// Signals are those of a run that decoded these tokens, position for position; the arithmetic is another (products of
/// many rows), so that even an honest run may differ in bits.
inline Repetition run_prefill(engine::Decoder& decoder, const RunSettings& settings, std::vector<std::int32_t> prompt,
                              const std::vector<std::int32_t>& tokens) {
  const c10::InferenceMode guard;
  const auto length = static_cast<std::int64_t>(prompt.size()), decoded = static_cast<std::int64_t>(tokens.size());
  prompt.insert(prompt.end(), tokens.begin(), tokens.end());
  const at::Tensor all = model::batch_of({prompt}).to(decoder.device());
  model::KvCache cache = decoder.make_cache(1, length + decoded);
  Recorder recorder(decoder.config(), settings.layers, settings.top_k, length, decoded);
  const auto start = detail::Clock::now();
  recorder.start_pass(length + decoded);
  recorder.next_tokens(decoder, decoder.forward(all, cache, recorder.kept(), &recorder));
  for (const std::int32_t token : tokens) recorder.token(token);
  Repetition out;
  out.timing.total = out.timing.prefill = detail::seconds_since(start);
  out.passes.push_back({start, detail::Clock::now()});
  out.signals = recorder.take();
  return out;
}

}  // namespace fpf
