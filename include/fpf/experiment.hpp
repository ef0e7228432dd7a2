// The umbrella: an inference set-up as a type, and running it.
//
//   using Reference = fpf::Experiment<>;                                        // experiment 0
//   using Ablation  = fpf::Experiment<fpf::quant::Awq, fpf::attention::Eager>;  // experiment 4
#pragma once

#include <fpf/attention/eager.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/evidence/run_json.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/experiment/recorder.hpp>
#include <fpf/experiment/settings.hpp>
#include <fpf/model/decoder.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/stream/exclusive.hpp>

#include <chrono>
#include <functional>

namespace fpf {

/// What one repetition gave.
struct Repetition {
  evidence::Signals signals;
  evidence::Timing timing;            // seconds
  evidence::Json contention;          // from the stream policy, null when the device was ours alone
};

/// An inference set-up: five choices of numerics, each a policy. Without arguments it is the reference configuration.
template <class Quant = quant::None, class Attention = attention::Flash, class Parallel = parallel::Single,
          class Stream = stream::Exclusive, class Execution = execution::Eager>
class Experiment {
  static_assert(sizeof(quant::Require<Quant>) && sizeof(attention::Require<Attention>) &&
                sizeof(parallel::Require<Parallel>) && sizeof(stream::Require<Stream>) &&
                sizeof(execution::Require<Execution>));

 public:
  using QuantPolicy = Quant;
  using AttentionPolicy = Attention;
  using StreamPolicy = Stream;
  using Decoder = model::Decoder<Quant, Attention, Parallel, Execution>;

  /// The choices of numerics under the names that the plan's schema gives them.
  static evidence::Json fixed_params() {
    return {{"compile", Execution::name == "compiled"},
            {"execution", Execution::name},
            {"attention_impl", Attention::name},
            {"concurrent_streams", Stream::name == "contended"}};
  }

  /// Loads the model. `checkpoint` must outlive the experiment. Throws Error when it does not fit the policies.
  Experiment(const model::Checkpoint& checkpoint, const RunSettings& settings, Stream stream = {})
      : settings_(settings), stream_(std::move(stream)) {
    for (Parallel& rank : Parallel::local_ranks(settings.ranks))
      decoders_.push_back(std::make_unique<Decoder>(checkpoint, std::move(rank), quant::scalar_type(settings.dtype),
                                                    at::Device(settings.device)));
  }

  /// One repetition: prefill, then `decode_steps` greedy steps against the KV cache. `prompts` are the sequences of the
  /// batch, all of one length of at least 2; signals are of sequence 0. With `forced`, those tokens are fed instead of
  /// the ones the model chooses (they are still recorded as fed). `step_done` is called after prefill and every step.
  Repetition run(const std::vector<std::vector<std::int32_t>>& prompts, const std::vector<std::int32_t>& forced = {},
                 const std::function<void()>& step_done = [] {}) {
    stream_.start();
    Repetition out = run_rank(*decoders_.front(), prompts, forced, step_done);
    out.contention = stream_.stop();
    return out;
  }

  const std::vector<std::unique_ptr<Decoder>>& decoders() const { return decoders_; }

  /// What the manifest says of this set-up beside the environment.
  evidence::Json manifest() const {
    evidence::Json ranks = evidence::Json::array();
    for (const auto& decoder : decoders_)
      ranks.push_back({{"rank", decoder->parallel().rank()}, {"weight_bytes", decoder->weight_bytes()}});
    return {{"policies",
             {{"quantisation", Quant::name},
              {"attention", Attention::name},
              {"parallelism", Parallel::name},
              {"stream", Stream::name},
              {"execution", Execution::name}}},
            {"ranks", ranks}};
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

  static at::Tensor batch_of(const std::vector<std::vector<std::int32_t>>& prompts) {
    const auto length = static_cast<std::int64_t>(prompts.front().size());
    at::Tensor out = at::empty({static_cast<std::int64_t>(prompts.size()), length}, at::kLong);
    for (std::size_t b = 0; b < prompts.size(); ++b) {
      if (static_cast<std::int64_t>(prompts[b].size()) != length)
        throw std::logic_error("the prompts of a batch must have one length");
      std::copy(prompts[b].begin(), prompts[b].end(), out.data_ptr<std::int64_t>() + static_cast<std::int64_t>(b) * length);
    }
    return out;
  }

  Repetition run_rank(Decoder& decoder, const std::vector<std::vector<std::int32_t>>& prompts,
                      const std::vector<std::int32_t>& forced, const std::function<void()>& step_done) {
    const c10::InferenceMode guard;
    const at::Device device(settings_.device);
    const at::Tensor prompt = batch_of(prompts).to(device);
    const std::int64_t batch = prompt.size(0), length = prompt.size(1);
    model::KvCache cache = decoder.make_cache(batch, length + settings_.decode_steps);
    Recorder recorder(decoder.config(), settings_.dtype, settings_.layers, settings_.top_k, length);

    const auto start = Clock::now();
    recorder.start_pass(length);
    at::Tensor next = recorder.next_tokens(decoder.forward(prompt, cache, recorder.kept(), &recorder));
    Repetition out;
    out.timing.prefill = seconds_since(start);
    step_done();
    for (std::int64_t step = 0; step < settings_.decode_steps; ++step) {
      check_interrupt();
      if (!forced.empty()) next.select(0, 0).fill_(forced.at(static_cast<std::size_t>(step)));
      recorder.token(next.template const_data_ptr<std::int64_t>()[0]);
      recorder.start_pass(1);
      next = recorder.next_tokens(decoder.forward(next.to(device).unsqueeze(1), cache, 1, &recorder));
      step_done();
    }
    out.timing.total = seconds_since(start);
    out.timing.decode = out.timing.total - out.timing.prefill;
    out.signals = recorder.take();
    return out;
  }

  RunSettings settings_;
  Stream stream_;
  std::vector<std::unique_ptr<Decoder>> decoders_;  // one a local rank
};

}  // namespace fpf
