// fpf's kernels on the GPUs and streams that libtorch works with.
#pragma once

#include <ATen/core/Tensor.h>
#ifdef FPF_WITH_CUDA
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#endif

#include <fpf/device/dtype.hpp>
#include <fpf/kernel/host/library.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace fpf::device {

using SharedCompiler = std::shared_ptr<const kernel::Compiler>;

namespace detail {

/// What compiles the kernels that are asked for now.
inline SharedCompiler& chosen_compiler() {
  static SharedCompiler chosen = std::make_shared<kernel::Compiler>();
  return chosen;
}

}  // namespace detail

/// While it lives, kernels are another toolkit's: those that a model is loaded and run with. For the whole process, so
/// not to be begun or ended while a model runs.
class ToolkitScope {
 public:
  explicit ToolkitScope(SharedCompiler compiler)
      : before_(std::exchange(detail::chosen_compiler(), std::move(compiler))) {}
  ~ToolkitScope() { detail::chosen_compiler() = std::move(before_); }
  ToolkitScope(const ToolkitScope&) = delete;
  ToolkitScope& operator=(const ToolkitScope&) = delete;

 private:
  SharedCompiler before_;
};

/// The kernels of a GPU, built once a process by each toolkit. Throws Error for a GPU or driver that cannot run them.
inline kernel::Library& kernels(at::Device device) {
  static std::mutex mutex;
  static std::map<std::pair<int, SharedCompiler>, kernel::Library> libraries;
  const std::lock_guard lock(mutex);
  const int index = index_of(device);
  const SharedCompiler& compiler = detail::chosen_compiler();
  return libraries.try_emplace({index, compiler}, index, compiler).first->second;
}

/// Makes a GPU the calling thread's own: its context and libtorch's current device. Does nothing for a CPU.
inline void enter([[maybe_unused]] at::Device device) {
#ifdef FPF_WITH_CUDA
  if (!device.is_cuda()) return;
  kernels(device).enter();
  c10::cuda::set_device(index_of(device));
#endif
}

/// The stream on which libtorch works on that device now.
inline kernel::cuda::Stream current_stream([[maybe_unused]] at::Device device) {
#ifdef FPF_WITH_CUDA
  return c10::cuda::getCurrentCUDAStream(index_of(device)).stream();
#else
  fail("this libtorch is built without CUDA");
#endif
}

/// While it lives, libtorch works on that stream of a GPU.
class StreamScope {
 public:
#ifdef FPF_WITH_CUDA
  StreamScope(kernel::cuda::Stream stream, at::Device device)
      : before_(c10::cuda::getCurrentCUDAStream(index_of(device))) {
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromExternal(stream, index_of(device)));
  }
  ~StreamScope() { c10::cuda::setCurrentCUDAStream(before_); }
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  c10::cuda::CUDAStream before_;
#else
  StreamScope(kernel::cuda::Stream, at::Device) {}
#endif
};

}  // namespace fpf::device
