// An inference set-up at work: loading it, running it and saying what it is.
#pragma once

#include <fpf/core/json.hpp>
#include <fpf/device/memory.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/experiment/gpu_repetition.hpp>
#include <fpf/experiment/host_repetition.hpp>
#include <fpf/experiment/setup.hpp>
#include <fpf/model/account.hpp>
#include <fpf/parallel/ranks.hpp>
#include <fpf/parallel/world.hpp>
#include <fpf/quant/schemes.hpp>
#include <fpf/stream/stream_contention.hpp>
#include <memory>

namespace fpf {

/// Loaded decoders, one a local rank, and how repetitions run on them.
template <class>
class BasicSession {
 public:
  /// Loads the model. `checkpoint` must outlive the session. Throws Error when it does not fit the policies, and for
  /// tensors that would have to be read (model/account.hpp).
  BasicSession(const model::Checkpoint& checkpoint, const RunSettings& settings, const Setup& setup);
  BasicSession(const BasicSession&) = delete;
  BasicSession& operator=(const BasicSession&) = delete;

  const std::vector<std::unique_ptr<engine::Decoder>>& decoders() const { return decoders_; }
  const Setup& setup() const { return setup_; }
  /// What of the model's files no rank read.
  const model::Unread& unread() const { return unread_; }

  /// One repetition: prefill, then `decode_steps` greedy steps against the KV cache. `prompts` are the
  /// sequences of the batch, all of one length of at least 2; signals are of sequence 0. With `forced`, those
  /// tokens are fed instead of the ones the model chooses (they are still recorded as fed). `step_done` is
  /// called after prefill and every step.
  Repetition run(
      const std::vector<std::vector<std::int32_t>>& prompts, const std::vector<std::int32_t>& forced = {},
      const std::function<void()>& step_done = [] {}) {
    setup_.stream->start();
    Repetition out = on_ranks([&](engine::Decoder& decoder, std::size_t rank) {
      const std::function<void()> done = rank == 0 ? step_done : [] {};
      return decoder.on_gpu() ? gpu_[rank].run(decoder, settings_, prompts, forced, done)
                              : run_on_host(decoder, settings_, prompts, forced, done);
    });
    out.contention = setup_.stream->stop(out.passes);
    return out;
  }

  /// Re-execution: prompt and decoded tokens in one prefill, alone in the batch and on the device; see run_prefill().
  Repetition run_prefill(const std::vector<std::int32_t>& prompt, const std::vector<std::int32_t>& tokens) {
    return on_ranks(
        [&](engine::Decoder& decoder, std::size_t) { return fpf::run_prefill(decoder, settings_, prompt, tokens); });
  }

  /// Largest number of bytes in use at once on the first rank's GPU, weights included; 0 on a CPU.
  std::int64_t peak_device_memory() const { return device::peak_device_memory(decoders_.front()->device()); }

  /// The choices of numerics under the names that the plan's schema gives them.
  Json fixed_params() const {
    Json out = {{"compile", setup_.execution->fused},
                {"execution", setup_.execution->name},
                {"attention_impl", attention_name()},
                {"tp_size", 1},
                {"ep_size", 1},
                {"concurrent_streams", setup_.stream->contends()}};
    const std::string size_param(setup_.parallelism->size_param);
    if (!size_param.empty()) out[size_param] = decoders_.front()->ranks();
    return out;
  }

  /// What the manifest says of this set-up beside the environment.
  Json manifest() const {
    Json policies = {{"quantisation", setup_.quantisation->name},
                     {"attention", attention_name()},
                     {"parallelism", setup_.parallelism->name},
                     {"stream", setup_.stream->name()},
                     {"execution", setup_.execution->name}};
    if (!setup_.execution->description.empty()) policies["execution_detail"] = setup_.execution->description;
    Json out = {{"policies", policies}, {"ranks", ranks_}, {"operations", describe_operations()}};
    if (const auto* communicator = decoders_.front()->collectives().communicator())
      out["communicator"] = communicator->describe();
    return out;
  }

 private:
  /// Portable execution has an attention of its own.
  std::string_view attention_name() const {
    return setup_.execution->portable ? setup_.execution->name : setup_.attention->name;
  }

  /// Once this process's ranks are loaded: what all ranks hold, those of other processes too, and what of the model
  /// none of them read. Throws Error for what may not be left unread.
  void meet(const model::Checkpoint& checkpoint) {
    std::vector<Json> own;
    for (const auto& decoder : decoders_) own.push_back(describe_rank(*decoder));
    std::vector<bool> taken = checkpoint.source().taken();
    if (settings_.ranks.world == nullptr) {
      ranks_ = own;
    } else {
      for (const std::string& one : settings_.ranks.world->all(own.front().dump()))
        ranks_.push_back(parse_json<Json>(one, "what a rank says of its weights"));
      for (const std::string& one : settings_.ranks.world->all(bits(taken))) {
        if (one.size() != taken.size())
          fail("a rank finds {} tensors in the model, another {}", taken.size(), one.size());
        for (std::size_t i = 0; i < taken.size(); ++i) taken[i] = taken[i] || one[i] == '1';
      }
    }
    unread_ = model::account(checkpoint, taken);
  }

  static std::string bits(const std::vector<bool>& values) {
    std::string out;
    for (const bool value : values) out += value ? '1' : '0';
    return out;
  }

  /// What the first rank's work(decoder, rank) returns; all ranks have the same.
  template <class Work>
  Repetition on_ranks(Work work) {
    Repetition out;
    const auto body = [&](std::size_t rank) {
      engine::Decoder& decoder = *decoders_[rank];
      Repetition own = device::naming_memory(decoder.device(), [&] { return work(decoder, rank); });
      if (auto* communicator = decoder.collectives().communicator()) communicator->check();
      if (rank == 0) out = std::move(own);
    };
    const auto give_up = [&] {
      for (const auto& decoder : decoders_)
        if (auto* communicator = decoder->collectives().communicator()) communicator->abort();
    };
    parallel::run_ranks(decoders_.size(), body, give_up);
    return out;
  }

  /// By phase; the batch size is the configuration's own.
  Json describe_operations() const {
    const auto table = [](const engine::OperationTable& operations) {
      Json out = Json::object();
      for (const auto& [operation, kernel] : operations) out[operation] = kernel;
      return out;
    };
    const engine::Decoder& decoder = *decoders_.front();
    const engine::OperationTable forward = decoder.operations();
    return {{"prefill", table(forward)}, {"decode", table(decoder.on_gpu() ? gpu_.front().operations() : forward)}};
  }

  Json describe_rank(const engine::Decoder& decoder) const {
    const parallel::Shard& shard = decoder.shard();
    const auto range = [](const Range& r) { return Json{r.begin, r.end}; };
    Json out = {{"rank", decoder.rank()},
                {"device", decoder.device().str()},
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

  RunSettings settings_;
  Setup setup_;
  std::vector<std::unique_ptr<engine::Decoder>> decoders_;
  std::vector<GpuRepetitions> gpu_;  // a decoder's
  Json ranks_;                       // descriptions of all ranks
  model::Unread unread_;
};

template <class T>
BasicSession<T>::BasicSession(const model::Checkpoint& checkpoint, const RunSettings& settings, const Setup& setup)
    : settings_(settings), setup_(setup) {
  const model::ModelConfig& config = checkpoint.config();
  if (setup_.quantisation == nullptr) setup_.quantisation = &quant::scheme_of(config.quantization);
  parallel::RankOptions ranks = settings.ranks;
  ranks.device = settings.device;
  ranks.by_outputs = setup_.execution->portable;
  for (parallel::Rank& rank : setup_.parallelism->local_ranks(ranks, config)) {
    const at::Device device(parallel::rank_device(ranks, rank.rank));
    device::enter(device);
    device::require_device_memory(device, checkpoint.source().bytes() / static_cast<std::size_t>(rank.size));
    decoders_.push_back(device::naming_memory(device, [&] {
      const engine::Numerics numerics{*setup_.quantisation, *setup_.attention, *setup_.execution};
      return engine::DecoderFactory<>::make(numerics, checkpoint, std::move(rank), device::scalar_type(settings.dtype),
                                            device);
    }));
    device::release_cached_memory(device);
    gpu_.emplace_back();
  }
  meet(checkpoint);
}

}  // namespace fpf
