// Several GPUs of one machine: do they see each other, and is what NCCL adds up right?
#pragma once

#include <fpf/kernel/driver_api.hpp>
#include <optional>
#include <string>

namespace fpf::preflight {

/// GPUs of this machine as the driver counts them; 0 without one.
inline int gpu_count() {
  int count = 0;
  if (kernel::cuda::driver_available()) kernel::cuda::driver().device_get_count(&count);
  return count;
}

/// What is wrong between the first `ranks` GPUs; empty where an all-reduce over them is right, nothing where this build
/// has no communicator to try it with.
inline std::optional<std::string> collective_fault([[maybe_unused]] int ranks) { return std::nullopt; }

}  // namespace fpf::preflight
