// A repetition on a GPU: prefill by the forward pass, then the decode step's kernels, whose signals arrive
// through a ring.
#pragma once

#include <fpf/engine/gpu_decode.hpp>
#include <fpf/experiment/host_repetition.hpp>
#include <memory>

namespace fpf {

/// Runs repetitions of one set-up, and keeps between them what a captured graph holds the addresses of: its
/// cache.
class GpuRepetitions {
 public:
  Repetition run(engine::Decoder& decoder, const RunSettings& settings,
                 const std::vector<std::vector<std::int32_t>>& prompts, const std::vector<std::int32_t>& forced,
                 const std::function<void()>& step_done) {
    const c10::InferenceMode guard;
    device::enter(decoder.device());
    const at::Tensor prompt = model::batch_of(prompts).to(decoder.device());
    const std::int64_t batch = prompt.size(0), length = prompt.size(1), steps = settings.decode_steps;
    if (!kept_ || kept_->batch != batch || kept_->cache.capacity() != model::KvCache::capacity_for(length + steps)) {
      kept_.reset();
      kept_ = std::make_unique<Kept>(Kept{batch, decoder.make_cache(batch, length + steps), nullptr});
      kept_->decode =
          std::make_unique<engine::GpuDecode>(decoder, kept_->cache, batch, settings.layers, settings.top_k);
    }
    model::KvCache& cache = kept_->cache;
    engine::GpuDecode& decode = *kept_->decode;
    cache.clear();
    Recorder recorder(decoder.config(), settings.layers, settings.top_k, length);
    const auto start = detail::Clock::now();
    recorder.start_pass(length);
    const at::Tensor first = recorder.next_tokens(decoder, decoder.forward(prompt, cache, recorder.kept(), &recorder));
    const std::int64_t* const tokens = first.const_data_ptr<std::int64_t>();
    Repetition out;
    out.timing.prefill = detail::seconds_since(start);
    out.passes.push_back({start, detail::Clock::now()});
    step_done();
    const auto decode_start = detail::Clock::now();
    decode.start({tokens, tokens + batch}, length, steps);
    for (std::int64_t step = 0; step < steps; ++step) {
      check_interrupt();
      decode.advance(forced.empty() ? nullptr : &forced.at(static_cast<std::size_t>(step)));
      step_done();
    }
    const at::Tensor& rows = decode.finish();
    out.passes.push_back({decode_start, detail::Clock::now()});
    out.timing.total = detail::seconds_since(start);
    out.timing.decode = out.timing.total - out.timing.prefill;
    std::int64_t token = tokens[0];
    for (std::int64_t step = 0; step < steps; ++step) {
      recorder.token(forced.empty() ? token : forced[static_cast<std::size_t>(step)]);
      token =
          recorder.gpu_step(decode.step().taps(), static_cast<const std::byte*>(rows.select(0, step).const_data_ptr()));
    }
    recorder.gpu_keys(decoder, cache, length, steps);
    out.signals = recorder.take();
    return out;
  }

  /// Which kernels the decode steps used: known once a repetition has run.
  engine::OperationTable operations() const {
    return kept_ ? kept_->decode->step().operations() : engine::OperationTable();
  }

 private:
  struct Kept {
    std::int64_t batch;
    model::KvCache cache;
    std::unique_ptr<engine::GpuDecode> decode;
  };
  std::unique_ptr<Kept> kept_;
};

}  // namespace fpf
