// An inference set-up as a type.
#pragma once

#include <fpf/attention/eager.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/device/memory.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/experiment/any_experiment.hpp>
#include <fpf/model/decoder.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/policies.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/stream/exclusive.hpp>

namespace fpf {

template <class Quant, class Attention, class Parallel, class Stream, class Execution>
class Experiment final : public AnyExperiment {
  static_assert(sizeof(quant::Require<Quant>) && sizeof(attention::Require<Attention>) &&
                sizeof(parallel::Require<Parallel>) && sizeof(stream::Require<Stream>) &&
                sizeof(execution::Require<Execution>));

 public:
  /// Loads the model. `checkpoint` must outlive the experiment. Throws Error when it does not fit the
  /// policies, and for tensors that would have to be read (model/account.hpp).
  Experiment(const model::Checkpoint& checkpoint, const RunSettings& settings, Stream stream = {});

 private:
  static Policies policies_of() {
    Policies out{Quant::name, Attention::name, Parallel::name, Stream::name, Execution::name};
    out.fused = execution::is_fused<Execution>();
    if constexpr (execution::is_portable<Execution>()) out.attention = Execution::name;
    out.execution_detail = execution::description_of<Execution>();
    if constexpr (requires { Parallel::size_param; }) out.size_param = Parallel::size_param;
    if constexpr (requires { Stream::contends; }) out.contended = Stream::contends;
    return out;
  }

  void start_stream() override { stream_.start(); }
  evidence::Json stop_stream(const std::vector<stream::Span>& work) override { return stream_.stop(work); }

  Stream stream_;
};

// Not inline: `extern template class Experiment<...>` leaves it to another object file.
template <class Quant, class Attention, class Parallel, class Stream, class Execution>
Experiment<Quant, Attention, Parallel, Stream, Execution>::Experiment(const model::Checkpoint& checkpoint,
                                                                      const RunSettings& settings, Stream stream)
    : AnyExperiment(settings, policies_of()), stream_(std::move(stream)) {
  parallel::RankOptions ranks = settings.ranks;
  ranks.device = settings.device;
  for (const Parallel& rank : Parallel::local_ranks(ranks)) {
    const at::Device device(parallel::rank_device(ranks, rank.rank()));
    device::enter(device);
    device::require_device_memory(device, checkpoint.source().bytes() / static_cast<std::size_t>(rank.size()));
    add_rank(device::naming_memory(device, [&] {
      return model::DecoderFactory<Quant, Attention, Execution>::make(
          checkpoint, parallel::Rank::of(rank, checkpoint.config()), device::scalar_type(settings.dtype), device);
    }));
  }
  meet(checkpoint);
}

/// An Experiment, for those who need not know what is in it.
template <class Setup, class... Stream>
std::shared_ptr<AnyExperiment> make_setup(const model::Checkpoint& checkpoint, const RunSettings& settings,
                                          Stream... stream) {
  return std::make_shared<Setup>(checkpoint, settings, std::move(stream)...);
}

}  // namespace fpf
