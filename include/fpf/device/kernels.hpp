// fpf's kernels on the GPUs and streams that libtorch works with.
#pragma once

#include <ATen/core/Tensor.h>
#ifdef FPF_WITH_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

#include <fpf/kernel/library.hpp>
#include <map>
#include <mutex>

namespace fpf::device {

/// The kernels of a GPU, built once a process. Throws Error for a GPU or driver that cannot run them.
inline kernel::Library& kernels(at::Device device) {
  static std::mutex mutex;
  static std::map<int, kernel::Library> libraries;
  const std::lock_guard lock(mutex);
  const int index = device.has_index() ? device.index() : 0;
  return libraries.try_emplace(index, index).first->second;
}

/// The stream on which libtorch works on that device now.
inline kernel::cuda::Stream current_stream([[maybe_unused]] at::Device device) {
#ifdef FPF_WITH_CUDA
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
#else
  fail("this libtorch is built without CUDA");
#endif
}

}  // namespace fpf::device
