// Kernels ready to launch: built for this GPU, loaded into its context, each with what it moves.
#pragma once

#include <array>
#include <fpf/kernel/host/builder.hpp>
#include <fpf/kernel/host/driver_api.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fpf::kernel {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// How one launch is made. `overlap` lets the kernel start while its predecessor on the stream still runs
/// (sm_90's programmatic dependent launch): only for kernels that wait for the predecessor before they touch
/// its results, which all of fpf's do. Elsewhere it is ignored.
struct Launch {
  Dim3 grid, block;
  unsigned shared_bytes = 0;
  cuda::Stream stream = nullptr;
  bool overlap = false;
};

/// A loaded kernel. Cheap to copy; valid while its Library lives.
class Kernel {
 public:
  Kernel() = default;
  Kernel(cuda::Function function, const std::string& name, bool can_overlap)
      : function_(function), name_(&name), can_overlap_(can_overlap) {}

  /// Launches with one parameter struct (fpf's convention: a kernel takes its data as one trivially copyable
  /// struct). Throws what names kernel, grid, block and shared memory when the driver refuses.
  template <class Params>
  void launch(const Launch& how, const Params& params) const {
    static_assert(std::is_trivially_copyable_v<Params>, "a kernel's parameters must be plain data");
    const cuda::Driver& api = cuda::driver();
    void* arguments[] = {const_cast<Params*>(&params)};
    cuda::Result result = cuda::success;
    if (how.overlap && can_overlap_) {
      cuda::LaunchAttribute attribute;
      attribute.id = cuda::programmatic_stream_serialization;
      attribute.value.programmatic_allowed = 1;
      const cuda::LaunchConfig config{how.grid.x,  how.grid.y,       how.grid.z, how.block.x, how.block.y,
                                      how.block.z, how.shared_bytes, how.stream, &attribute,  1};
      result = api.launch_kernel_ex(&config, function_, arguments, nullptr);
    } else {
      result = api.launch_kernel(function_, how.grid.x, how.grid.y, how.grid.z, how.block.x, how.block.y, how.block.z,
                                 how.shared_bytes, how.stream, arguments, nullptr);
    }
    if (result != cuda::success) api.check(result, describe(how));
  }

  cuda::Function function() const { return function_; }

 private:
  /// A launch beside what the kernel was compiled and loaded for.
  std::string describe(const Launch& how) const {
    const auto attribute = [&](cuda::FunctionAttribute which) {
      int value = -1;
      cuda::driver().func_get_attribute(&value, which, function_);
      return value;
    };
    return fmt::format(
        "the launch of {} on a grid of {} x {} x {} blocks of {} x {} x {} threads (at most {}, with {} "
        "registers each), {} bytes of dynamic shared memory (at most {}, beside {} static ones)",
        *name_, how.grid.x, how.grid.y, how.grid.z, how.block.x, how.block.y, how.block.z, attribute(cuda::max_threads),
        attribute(cuda::registers), how.shared_bytes, attribute(cuda::max_dynamic_shared),
        attribute(cuda::static_shared));
  }

  cuda::Function function_ = nullptr;
  const std::string* name_ = nullptr;  // the Library's
  bool can_overlap_ = false;
};

/// All kernels of one GPU, built at first request. One toolkit per Library; two Libraries with two toolkits
/// may serve one GPU at once. Thread-safe.
class Library {
 public:
  /// Uses the GPU's primary context (the one libtorch uses). Throws Error when the driver is older than the
  /// toolkit's code needs, or when the GPU is older than sm_80.
  explicit Library(int ordinal = 0, std::shared_ptr<const Compiler> compiler = std::make_shared<Compiler>(),
                   CubinCache cache = {},
                   std::vector<SourceText> sources = {embedded_sources.begin(), embedded_sources.end()})
      : device_(cuda::device_info(ordinal)),
        builder_(compiler, device_.compute_capability, std::move(cache), std::move(sources)) {
    if (device_.driver_version / 1000 < compiler->version() / 1000)
      fail(
          "the driver supports CUDA {}.{}, but the kernels would be compiled by NVRTC {} ({}): install a "
          "newer driver "
          "or name an older toolkit",
          device_.driver_version / 1000, device_.driver_version % 1000 / 10, compiler->version_name(),
          compiler->toolkit().nvrtc.string());
    const cuda::Driver& api = cuda::driver();
    cuda::Device handle = 0;
    api.check(api.device_get(&handle, ordinal), "cuDeviceGet");
    api.check(api.device_primary_ctx_retain(&context_, handle), "cuDevicePrimaryCtxRetain");
    api.check(api.ctx_set_current(context_), "cuCtxSetCurrent");
    can_overlap_ = device_.compute_capability >= 90 && api.launch_kernel_ex != nullptr;
  }
  /// Makes this GPU's context the calling thread's.
  void enter() const { cuda::driver().check(cuda::driver().ctx_set_current(context_), "cuCtxSetCurrent"); }

  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    for (const auto& [name, entry] : kernels_) cuda::driver().module_unload(entry.module);
  }

  const cuda::DeviceInfo& device() const { return device_; }
  const Builder& builder() const { return builder_; }

  /// The kernel `expression` of source `file`, with `shared_bytes` of dynamic shared memory allowed. Throws
  /// Error when this GPU's blocks have less.
  Kernel get(std::string_view file, const std::string& expression, unsigned shared_bytes = 0) {
    const std::lock_guard lock(mutex_);
    const cuda::Driver& api = cuda::driver();
    api.check(api.ctx_set_current(context_), "cuCtxSetCurrent");
    auto known = kernels_.find(expression);
    if (known == kernels_.end()) {
      Binary binary = builder_.build(file, expression);
      Entry entry;
      api.check(api.module_load_data(&entry.module, binary.cubin.data()), expression);
      cuda::Function function = nullptr;
      api.check(api.module_get_function(&function, entry.module, binary.symbol.c_str()), expression);
      entry.record = std::move(binary.record);
      known = kernels_.emplace(expression, std::move(entry)).first;
      known->second.kernel = Kernel(function, known->first, can_overlap_);
    }
    allow_shared(known->second, shared_bytes);
    return known->second.kernel;
  }

  /// What was built so far, by name: for the manifest.
  std::vector<KernelRecord> records() const {
    const std::lock_guard lock(mutex_);
    std::vector<KernelRecord> all;
    for (const auto& [name, entry] : kernels_) all.push_back(entry.record);
    return all;
  }

 private:
  struct Entry {
    cuda::Module module = nullptr;
    Kernel kernel;
    KernelRecord record;
    unsigned shared_bytes = 0;  // dynamic, allowed so far
  };

  /// Several plans may launch one kernel, with more shared memory the more rows they take.
  void allow_shared(Entry& entry, unsigned shared_bytes) const {
    if (shared_bytes <= entry.shared_bytes) return;
    const std::uint64_t needed = entry.record.resources.shared_bytes + shared_bytes;
    if (needed > static_cast<std::uint64_t>(device_.max_shared_bytes))
      fail("{} needs {} bytes of shared memory a block: {} (sm_{}) has {}", entry.record.name, needed, device_.name,
           device_.compute_capability, device_.max_shared_bytes);
    const cuda::Driver& api = cuda::driver();
    if (needed > 48 * 1024)
      api.check(
          api.func_set_attribute(entry.kernel.function(), cuda::max_dynamic_shared, static_cast<int>(shared_bytes)),
          entry.record.name);
    entry.shared_bytes = shared_bytes;
  }

  cuda::DeviceInfo device_;
  Builder builder_;
  cuda::Context context_ = nullptr;
  bool can_overlap_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> kernels_;
};

}  // namespace fpf::kernel
