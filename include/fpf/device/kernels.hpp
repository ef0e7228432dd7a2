// fpf's kernels on the GPUs and streams that libtorch works with.
#pragma once

#include <ATen/core/Tensor.h>
#ifdef FPF_WITH_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

#include <fpf/kernel/library.hpp>
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
  const int index = device.has_index() ? device.index() : 0;
  const SharedCompiler& compiler = detail::chosen_compiler();
  return libraries.try_emplace({index, compiler}, index, compiler).first->second;
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
