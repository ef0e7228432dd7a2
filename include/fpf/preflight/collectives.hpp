// Several GPUs of one machine: do they see each other, and is what NCCL adds up right?
#pragma once

#include <ATen/ops/full.h>

#include <fpf/device/kernels.hpp>
#include <fpf/kernel/host/driver_api.hpp>
#include <fpf/parallel/ranks.hpp>
#include <fpf/parallel/transport.hpp>
#include <string>

namespace fpf::preflight {

/// GPUs of this machine as the driver counts them; 0 without one.
inline int gpu_count() {
  int count = 0;
  if (kernel::cuda::driver_available()) kernel::cuda::driver().device_get_count(&count);
  return count;
}

/// What is wrong between the first `ranks` GPUs, 2 or more; empty where an all-reduce over them is right.
inline std::string collective_fault(int ranks) {
  const parallel::RankOptions options{.size = ranks, .device = "cuda"};
  const double right = ranks * (ranks + 1) / 2.0;  // 1 + 2 + ...
  try {
    const auto communicators = parallel::local_communicators(options);
    parallel::run_ranks(
        communicators.size(),
        [&](std::size_t r) {
          const at::Device device(parallel::rank_device(options, static_cast<int>(r)));
          device::enter(device);
          for (const std::int64_t count : {2048, 1 << 20}) {  // a decode step's, and several chunks
            const at::Tensor sum =
                at::full({count}, static_cast<double>(r + 1), at::TensorOptions(at::kBFloat16).device(device));
            communicators[r]->all_reduce(sum);
            if (!sum.cpu().eq(right).all().template item<bool>())
              fail("an all-reduce of {} values over {} GPUs gives another sum than {:g}", count, ranks, right);
          }
        },
        [&] {
          for (const auto& communicator : communicators) communicator->abort();
        });
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace fpf::preflight
