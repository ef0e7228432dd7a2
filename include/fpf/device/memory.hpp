// A GPU's memory as libtorch's allocator sees it: what a run takes, and whether a model can fit.
#pragma once

#include <ATen/core/Tensor.h>
#ifdef FPF_WITH_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include <cstdlib>
#include <fpf/core/error.hpp>
#include <fpf/device/kernels.hpp>

namespace fpf::device {

/// Tells libtorch's allocator to grow its segments instead of adding ones of fixed size, unless the user has
/// set it up otherwise: a 30B model's prefill takes 4 GB less for itself. To be called before a GPU is used.
inline void use_expandable_segments() {
  if (std::getenv("PYTORCH_ALLOC_CONF") == nullptr) ::setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True", 0);
}

/// Gives back what the allocator keeps for later, and begins a new peak. Does nothing for a CPU.
inline void release_cached_memory([[maybe_unused]] at::Device device) {
#ifdef FPF_WITH_CUDA
  if (!device.is_cuda()) return;
  c10::cuda::CUDACachingAllocator::emptyCache();
  c10::cuda::CUDACachingAllocator::resetPeakStats(index_of(device));
#endif
}

/// Largest number of bytes in use at once since then; 0 for a CPU.
inline std::int64_t peak_device_memory([[maybe_unused]] at::Device device) {
#ifdef FPF_WITH_CUDA
  if (device.is_cuda())
    return c10::cuda::CUDACachingAllocator::getDeviceStats(index_of(device)).allocated_bytes[0].peak;
#endif
  return 0;
}

/// Throws Error when a GPU has less free memory than weights of at least so many bytes need. Says nothing of
/// caches and working space, whose size a batch decides.
inline void require_device_memory(at::Device device, std::size_t weight_bytes) {
  if (!device.is_cuda()) return;
  kernels(device);  // whose context is current from here on
  std::size_t free = 0, total = 0;
  const kernel::cuda::Driver& api = kernel::cuda::driver();
  api.check(api.mem_get_info(&free, &total), "cuMemGetInfo");
  const auto gigabytes = [](std::size_t bytes) { return static_cast<double>(bytes) / 1e9; };
  if (free < weight_bytes)
    fail(
        "the model's weights need at least {:.1f} GB on {}, and its KV cache and working space more: {:.1f} "
        "GB of {:.1f} GB "
        "are free",
        gigabytes(weight_bytes), device.str(), gigabytes(free), gigabytes(total));
}

/// Calls f; turns libtorch's complaint about memory into an Error.
template <class F>
decltype(auto) naming_memory(at::Device device, F f) {
  try {
    return f();
  } catch (const c10::OutOfMemoryError& error) {
    const std::string text = error.what_without_backtrace();
    fail("the memory of {} does not suffice: {}", device.str(), text.substr(0, text.find(" If reserved")));
  }
}

}  // namespace fpf::device
