// The umbrella: an inference set-up as a type, and running it.
//
//   using Reference = fpf::Experiment<>;                                        // experiment 0
//   using Ablation  = fpf::Experiment<fpf::quant::Awq, fpf::attention::Eager>;  // experiment 4
#pragma once

#include <chrono>
#include <fpf/attention/eager.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/evidence/run_json.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/experiment/recorder.hpp>
#include <fpf/experiment/repetitions.hpp>
#include <fpf/experiment/settings.hpp>
#include <fpf/model/decoder.hpp>
#include <fpf/parallel/ranks.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/stream/exclusive.hpp>
#include <functional>

namespace fpf {

/// An inference set-up: five choices of numerics, each a policy. Without arguments it is the reference
/// configuration.
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

  /// Loads the model. `checkpoint` must outlive the experiment. Throws Error when it does not fit the
  /// policies.
  Experiment(const model::Checkpoint& checkpoint, const RunSettings& settings, Stream stream = {})
      : settings_(settings), stream_(std::move(stream)) {
    for (Parallel& rank : Parallel::local_ranks(settings.ranks)) {
      const at::Device device(parallel::rank_device(settings.device, settings.ranks, rank.rank()));
      decoders_.push_back(
          std::make_unique<Decoder>(checkpoint, std::move(rank), quant::scalar_type(settings.dtype), device));
    }
  }

  /// One repetition: prefill, then `decode_steps` greedy steps against the KV cache. `prompts` are the
  /// sequences of the batch, all of one length of at least 2; signals are of sequence 0. With `forced`, those
  /// tokens are fed instead of the ones the model chooses (they are still recorded as fed). `step_done` is
  /// called after prefill and every step.
  Repetition run(
      const std::vector<std::vector<std::int32_t>>& prompts, const std::vector<std::int32_t>& forced = {},
      const std::function<void()>& step_done = [] {}) {
    Repetition out;
    const auto work = [&](std::size_t rank) {
      Repetition own = run_rank(*decoders_[rank], prompts, forced, rank == 0 ? step_done : [] {});
      if (rank == 0) out = std::move(own);  // all ranks have the same
    };
    const auto give_up = [&](std::size_t rank) {
      if (auto* communicator = decoders_[rank]->parallel().communicator()) communicator->abort();
    };
    stream_.start();
    parallel::run_ranks(decoders_.size(), work, give_up);
    out.contention = stream_.stop(out.passes);
    return out;
  }

  const std::vector<std::unique_ptr<Decoder>>& decoders() const { return decoders_; }

  /// The choices of numerics under the names that the plan's schema gives them.
  evidence::Json fixed_params() const {
    const int ranks = decoders_.front()->parallel().size();
    return {{"compile", Execution::name == "compiled"},
            {"execution", Execution::name},
            {"attention_impl", Attention::name},
            {"tp_size", Parallel::name == "tensor" ? ranks : 1},
            {"ep_size", Parallel::name == "expert" ? ranks : 1},
            {"concurrent_streams", Stream::name == "contended"}};
  }

  /// What the manifest says of this set-up beside the environment.
  evidence::Json manifest() const {
    evidence::Json policies = {{"quantisation", Quant::name},
                               {"attention", Attention::name},
                               {"parallelism", Parallel::name},
                               {"stream", Stream::name},
                               {"execution", Execution::name}};
    if constexpr (requires { Execution::description; }) policies["execution_detail"] = Execution::description;
    evidence::Json ranks = evidence::Json::array();
    for (const auto& decoder : decoders_) ranks.push_back(describe_rank(*decoder));
    evidence::Json out = {{"policies", policies}, {"ranks", ranks}};
    if (const auto* communicator = decoders_.front()->parallel().communicator())
      out["communicator"] = communicator->describe();
    return out;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  evidence::Json describe_rank(const Decoder& decoder) const {
    const auto& parallel = decoder.parallel();
    const parallel::Shard shard = parallel.shard(decoder.config());
    const auto range = [](const Range& r) { return evidence::Json{r.begin, r.end}; };
    evidence::Json out = {
        {"rank", parallel.rank()},
        {"device", parallel::rank_device(settings_.device, settings_.ranks, parallel.rank())},
        {"threads", parallel::threads_per_rank(decoders_.size())},
        {"weight_bytes", decoder.weight_bytes()},
        {"heads", range(shard.heads)},
        {"kv_heads", range(shard.kv_heads)},
        {"vocabulary", range(shard.vocabulary)}};
    if (decoder.config().is_moe()) {
      out["expert_columns"] = range(shard.expert_mlp);
      out["experts"] = shard.experts;
    } else {
      out["mlp_columns"] = range(shard.mlp);
    }
    return out;
  }

  static at::Tensor batch_of(const std::vector<std::vector<std::int32_t>>& prompts) {
    const auto length = static_cast<std::int64_t>(prompts.front().size());
    at::Tensor out = at::empty({static_cast<std::int64_t>(prompts.size()), length}, at::kLong);
    for (std::size_t b = 0; b < prompts.size(); ++b) {
      if (static_cast<std::int64_t>(prompts[b].size()) != length)
        throw std::logic_error("the prompts of a batch must have one length");
      std::copy(prompts[b].begin(), prompts[b].end(),
                out.data_ptr<std::int64_t>() + static_cast<std::int64_t>(b) * length);
    }
    return out;
  }

  Repetition run_rank(Decoder& decoder, const std::vector<std::vector<std::int32_t>>& prompts,
                      const std::vector<std::int32_t>& forced, const std::function<void()>& step_done) {
    const c10::InferenceMode guard;
    const at::Device device = decoder.device();
    const at::Tensor prompt = batch_of(prompts).to(device);
    const std::int64_t batch = prompt.size(0), length = prompt.size(1);
    if (decoder.on_device()) return run_on_device(decoder, prompt, forced, step_done);
    model::KvCache cache = decoder.make_cache(batch, length + settings_.decode_steps);
    Recorder recorder(decoder.config(), settings_.dtype, settings_.layers, settings_.top_k, length);

    const auto start = Clock::now();
    recorder.start_pass(length);
    at::Tensor next = recorder.next_tokens(decoder.forward(prompt, cache, recorder.kept(), &recorder));
    Repetition out;
    out.timing.prefill = seconds_since(start);
    out.passes.push_back({start, Clock::now()});
    step_done();
    for (std::int64_t step = 0; step < settings_.decode_steps; ++step) {
      check_interrupt();
      if (!forced.empty()) next.select(0, 0).fill_(forced.at(static_cast<std::size_t>(step)));
      recorder.token(next.template const_data_ptr<std::int64_t>()[0]);
      const auto begin = Clock::now();
      recorder.start_pass(1);
      next = recorder.next_tokens(decoder.forward(next.to(device).unsqueeze(1), cache, 1, &recorder));
      out.passes.push_back({begin, Clock::now()});
      step_done();
    }
    out.timing.total = seconds_since(start);
    out.timing.decode = out.timing.total - out.timing.prefill;
    out.signals = recorder.take();
    return out;
  }

  /// A repetition on a GPU: prefill by the forward pass, then the step's kernels, whose signals arrive
  /// through a ring.
  Repetition run_on_device(Decoder& decoder, const at::Tensor& prompt,
                           const std::vector<std::int32_t>& forced, const std::function<void()>& step_done) {
    const std::int64_t batch = prompt.size(0), length = prompt.size(1), steps = settings_.decode_steps;
    if (!device_ || device_->batch != batch || device_->cache.capacity() != length + steps) {
      device_.reset();
      device_ =
          std::make_unique<DeviceRun>(DeviceRun{batch, decoder.make_cache(batch, length + steps), nullptr});
      device_->decode = decoder.device_decode(device_->cache, batch, settings_.layers, settings_.top_k);
    }
    model::KvCache& cache = device_->cache;
    model::DeviceDecode& decode = *device_->decode;
    cache.clear();
    Recorder recorder(decoder.config(), settings_.dtype, settings_.layers, settings_.top_k, length);
    const auto start = Clock::now();
    recorder.start_pass(length);
    const at::Tensor first = recorder.next_tokens(decoder.forward(prompt, cache, recorder.kept(), &recorder));
    Repetition out;
    out.timing.prefill = seconds_since(start);
    step_done();
    decode.start({first.template const_data_ptr<std::int64_t>(),
                  first.template const_data_ptr<std::int64_t>() + batch},
                 length, steps);
    for (std::int64_t step = 0; step < steps; ++step) {
      check_interrupt();
      decode.advance(forced.empty() ? nullptr : &forced.at(static_cast<std::size_t>(step)));
      step_done();
    }
    const at::Tensor& rows = decode.finish();
    out.timing.total = seconds_since(start);
    out.timing.decode = out.timing.total - out.timing.prefill;
    std::int64_t token = first.template const_data_ptr<std::int64_t>()[0];
    for (std::int64_t step = 0; step < steps; ++step) {
      recorder.token(forced.empty() ? token : forced[static_cast<std::size_t>(step)]);
      token = recorder.device_step(decode.step().taps(),
                                   static_cast<const std::byte*>(rows.select(0, step).const_data_ptr()));
    }
    recorder.device_keys(cache, length, steps);
    out.signals = recorder.take();
    return out;
  }

  /// What is kept between repetitions on a GPU: a captured graph holds the addresses of its cache.
  struct DeviceRun {
    std::int64_t batch;
    model::KvCache cache;
    std::unique_ptr<model::DeviceDecode> decode;
  };

  RunSettings settings_;
  Stream stream_;
  std::unique_ptr<DeviceRun> device_;
  std::vector<std::unique_ptr<Decoder>> decoders_;  // one a local rank
};

}  // namespace fpf
