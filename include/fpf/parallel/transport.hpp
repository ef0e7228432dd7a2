// Which communicator carries a run's collectives: the one place that chooses.
#pragma once

#include <ATen/Context.h>

#include <fpf/parallel/in_process.hpp>
#include <fpf/parallel/nccl.hpp>
#include <fpf/parallel/parallelism.hpp>
#include <fpf/parallel/store_exchange.hpp>

namespace fpf::parallel {

/// The communicators of the ranks that live in this process, in rank order: under a launcher its one rank, else a
/// thread each. GPUs of their own speak through NCCL; ranks that share a device are added up there. Throws Error when
/// there are fewer GPUs than ranks.
inline std::vector<std::shared_ptr<Communicator>> local_communicators(const RankOptions& options) {
  const bool own_gpus = options.device.starts_with("cuda") && !options.emulate && options.size > 1;
  if (options.world != nullptr && options.size != options.world->size())
    fail("a run of {} ranks under a launcher of {}: start as many processes as ranks, or none", options.size,
         options.world->size());
  if (!own_gpus) {
    if (options.world == nullptr) return InProcess::make(options.size);
    if (options.emulate) fail("--emulate puts all ranks into one process: start it without a launcher");
    return {std::make_shared<StoreExchange>(*options.world)};
  }
#ifdef FPF_WITH_CUDA
  std::vector<at::Device> devices;
  for (int rank = 0; rank < options.size; ++rank) devices.emplace_back(rank_device(options, rank));
  const auto last =
      options.world != nullptr ? devices[static_cast<std::size_t>(options.world->rank())] : devices.back();
  if (static_cast<std::size_t>(last.index()) >= at::getNumGPUs())
    fail(
        "{} ranks need as many GPUs, and {} is not among the {} that libtorch finds here: --emulate puts all ranks on one",
        options.size, last.str(), at::getNumGPUs());
  if (options.world != nullptr) return {Nccl::join(*options.world, last)};
  return Nccl::make(devices);
#else
  fail("ranks on GPUs: this libtorch is built without CUDA");
#endif
}

}  // namespace fpf::parallel
