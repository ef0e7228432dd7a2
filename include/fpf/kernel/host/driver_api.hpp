// The CUDA driver API, resolved from libcuda when a GPU is first used: nothing links against CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fpf/kernel/host/shared_object.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

struct CUstream_st;  // CUDA's own

namespace fpf::kernel::cuda {

// The driver's own handles and ABI (cuda.h of CUDA 11.8; unchanged up to 13.0), so that no header of CUDA's
// is needed.
using Result = int;
using Device = int;
using DevicePointer = std::uint64_t;
using Context = struct CUctx_st*;
using Module = struct CUmod_st*;
using Function = struct CUfunc_st*;
using Stream = CUstream_st*;  // the same handle as the runtime's cudaStream_t
using Event = struct CUevent_st*;
using Graph = struct CUgraph_st*;
using GraphExec = struct CUgraphExec_st*;

inline constexpr Result success = 0, out_of_memory = 2, not_ready = 600;
inline constexpr int capture_thread_local = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

enum DeviceAttribute : int {
  max_threads_per_block = 1,
  clock_khz = 13,
  multiprocessor_count = 16,
  memory_clock_khz = 36,
  l2_bytes = 38,
  compute_major = 75,
  compute_minor = 76,
  max_shared_per_block_optin = 97
};
enum FunctionAttribute : int {
  max_threads = 0,
  static_shared = 1,
  local_bytes = 3,
  registers = 4,
  max_dynamic_shared = 8
};
enum LaunchAttributeId : int { programmatic_stream_serialization = 6 };

struct LaunchAttribute {
  int id = 0;
  int padding = 0;
  union {
    char bytes[64];
    int programmatic_allowed;
  } value{};
};
static_assert(sizeof(LaunchAttribute) == 72);

struct LaunchConfig {
  unsigned grid_x = 1, grid_y = 1, grid_z = 1;
  unsigned block_x = 1, block_y = 1, block_z = 1;
  unsigned shared_bytes = 0;
  Stream stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};
static_assert(sizeof(LaunchConfig) == 56);

/// The driver's functions that fpf calls, under the driver's names without "cu".
struct Driver {
  SharedObject library;

  Symbol<Result(unsigned)> init{library, "cuInit"};
  Symbol<Result(int*)> driver_get_version{library, "cuDriverGetVersion"};
  Symbol<Result(Result, const char**)> get_error_name{library, "cuGetErrorName"};
  Symbol<Result(Result, const char**)> get_error_string{library, "cuGetErrorString"};
  Symbol<Result(int*)> device_get_count{library, "cuDeviceGetCount"};
  Symbol<Result(Device*, int)> device_get{library, "cuDeviceGet"};
  Symbol<Result(char*, int, Device)> device_get_name{library, "cuDeviceGetName"};
  Symbol<Result(int*, int, Device)> device_get_attribute{library, "cuDeviceGetAttribute"};
  Symbol<Result(Context*, Device)> device_primary_ctx_retain{library, "cuDevicePrimaryCtxRetain"};
  Symbol<Result(Context)> ctx_set_current{library, "cuCtxSetCurrent"};
  Symbol<Result(Context*)> ctx_get_current{library, "cuCtxGetCurrent"};
  Symbol<Result()> ctx_synchronize{library, "cuCtxSynchronize"};
  Symbol<Result(Module*, const void*)> module_load_data{library, "cuModuleLoadData"};
  Symbol<Result(Module)> module_unload{library, "cuModuleUnload"};
  Symbol<Result(Function*, Module, const char*)> module_get_function{library, "cuModuleGetFunction"};
  Symbol<Result(int*, int, Function)> func_get_attribute{library, "cuFuncGetAttribute"};
  Symbol<Result(Function, int, int)> func_set_attribute{library, "cuFuncSetAttribute"};
  Symbol<Result(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**)>
      launch_kernel{library, "cuLaunchKernel"};
  Result (*launch_kernel_ex)(const LaunchConfig*, Function, void**, void**) =  // null before CUDA 11.8
      library.find<Result(const LaunchConfig*, Function, void**, void**)>("cuLaunchKernelEx");
  Symbol<Result(std::size_t*, std::size_t*)> mem_get_info{library, "cuMemGetInfo_v2"};
  Symbol<Result(DevicePointer*, std::size_t)> mem_alloc{library, "cuMemAlloc_v2"};
  Symbol<Result(DevicePointer)> mem_free{library, "cuMemFree_v2"};
  Symbol<Result(DevicePointer, const void*, std::size_t)> memcpy_host_to_device{library, "cuMemcpyHtoD_v2"};
  Symbol<Result(void*, DevicePointer, std::size_t)> memcpy_device_to_host{library, "cuMemcpyDtoH_v2"};
  Symbol<Result(void*, DevicePointer, std::size_t, Stream)> memcpy_device_to_host_async{library,
                                                                                        "cuMemcpyDtoHAsync_v2"};
  Symbol<Result(DevicePointer, DevicePointer, std::size_t, Stream)> memcpy_device_to_device_async{
      library, "cuMemcpyDtoDAsync_v2"};
  Symbol<Result(DevicePointer, unsigned char, std::size_t)> memset_bytes{library, "cuMemsetD8_v2"};
  Symbol<Result(Stream*, unsigned)> stream_create{library, "cuStreamCreate"};
  Symbol<Result(Stream)> stream_synchronize{library, "cuStreamSynchronize"};
  Symbol<Result(Stream)> stream_query{library, "cuStreamQuery"};
  Symbol<Result(Stream)> stream_destroy{library, "cuStreamDestroy_v2"};
  Symbol<Result(Stream, int)> stream_begin_capture{library, "cuStreamBeginCapture_v2"};
  Symbol<Result(Stream, Graph*)> stream_end_capture{library, "cuStreamEndCapture"};
  Symbol<Result(Event*, unsigned)> event_create{library, "cuEventCreate"};
  Symbol<Result(Event, Stream)> event_record{library, "cuEventRecord"};
  Symbol<Result(Event)> event_synchronize{library, "cuEventSynchronize"};
  Symbol<Result(float*, Event, Event)> event_elapsed_time{library, "cuEventElapsedTime"};
  Symbol<Result(Event)> event_destroy{library, "cuEventDestroy_v2"};
  Symbol<Result(GraphExec*, Graph, unsigned long long)> graph_instantiate{library, "cuGraphInstantiateWithFlags"};
  Symbol<Result(GraphExec, Stream)> graph_launch{library, "cuGraphLaunch"};
  Symbol<Result(GraphExec)> graph_exec_destroy{library, "cuGraphExecDestroy"};
  Symbol<Result(Graph)> graph_destroy{library, "cuGraphDestroy"};

  /// Device memory. Throws Error that says how much was asked for and how much there is.
  DevicePointer allocate(std::size_t bytes) const {
    DevicePointer address = 0;
    check(mem_alloc(&address, bytes), fmt::format("an allocation of {} MB", (bytes + (1 << 20) - 1) >> 20));
    return address;
  }

  /// Throws when a call failed: Error for what a user can mend (memory), runtime_error for what is a bug.
  void check(Result result, std::string_view what) const {
    if (result == success) return;
    const char *name = "?", *text = "unknown error";
    get_error_name(result, &name);
    get_error_string(result, &text);
    if (result == out_of_memory) {
      std::size_t available = 0, total = 0;
      mem_get_info(&available, &total);
      fail("the GPU's memory does not suffice: {} MB of its {} MB are free, too few for {}", available >> 20,
           total >> 20, what);
    }
    throw std::runtime_error(fmt::format("CUDA: {} failed: {} ({})", what, text, name));
  }
};

/// The machine's driver, loaded and initialised at the first call.
/// Throws Error when there is none, when it is too old, or when it finds no GPU.
inline const Driver& driver() {
  static const Driver loaded = [] {
    std::string reason;
    const SharedObject library = SharedObject::open("libcuda.so.1", reason);
    if (!library) fail("no CUDA driver on this machine: {}", reason);
    const Driver found{library};
    int count = 0;
    if (const Result result = found.init(0); result != success) {
      const char* text = "unknown error";
      found.get_error_string(result, &text);
      fail("the CUDA driver does not start: {}", text);
    }
    if (found.device_get_count(&count) != success || count == 0) fail("the CUDA driver finds no GPU");
    return found;
  }();
  return loaded;
}

/// Whether driver() would succeed; a reason otherwise.
inline bool driver_available(std::string* reason = nullptr) {
  try {
    driver();
    return true;
  } catch (const Error& error) {
    if (reason != nullptr) *reason = error.what();
    return false;
  }
}

/// What the driver says of one GPU, for the manifest and for choosing code.
struct DeviceInfo {
  std::string name;
  int driver_version;         // 13000 for 13.0
  int compute_capability;     // 90 for sm_90
  int multiprocessors;        //
  int max_shared_bytes;       // per block, with opt-in
  int l2_bytes;               //
  int clock_khz, memory_khz;  // as found; fpf never sets them
};

/// Throws Error when the GPU does not exist or is older than sm_80.
inline DeviceInfo device_info(int ordinal) {
  const Driver& api = driver();
  int count = 0;
  api.check(api.device_get_count(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count) fail("GPU {} does not exist: the driver finds {}", ordinal, count);
  Device device = 0;
  api.check(api.device_get(&device, ordinal), "cuDeviceGet");
  const auto attribute = [&](DeviceAttribute which) {
    int value = 0;
    api.check(api.device_get_attribute(&value, which, device), "cuDeviceGetAttribute");
    return value;
  };
  char name[256] = {};
  api.check(api.device_get_name(name, sizeof name, device), "cuDeviceGetName");
  DeviceInfo info{};
  info.name = name;
  api.check(api.driver_get_version(&info.driver_version), "cuDriverGetVersion");
  info.compute_capability = attribute(compute_major) * 10 + attribute(compute_minor);
  info.multiprocessors = attribute(multiprocessor_count);
  info.max_shared_bytes = attribute(max_shared_per_block_optin);
  info.l2_bytes = attribute(l2_bytes);
  info.clock_khz = attribute(clock_khz);
  info.memory_khz = attribute(memory_clock_khz);
  if (info.compute_capability < 80)
    fail("GPU {} ({}) is sm_{}: fpf's kernels need sm_80 or newer", ordinal, info.name, info.compute_capability);
  return info;
}

}  // namespace fpf::kernel::cuda
