// A CUDA driver without a GPU: it answers as fake_cuda.hpp's state says, keeps memory on the host, refuses
// the launches that a GPU's driver refuses, and computes nothing unless a test says what does.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fpf/kernel/host/cubin.hpp>
#include <map>
#include <memory>

#include "fake_cuda.hpp"

namespace {

constexpr int success = 0, invalid_value = 1, out_of_memory = 2, no_device = 100, not_found = 500;

FakeGpu gpu;

struct Function {
  fpf::kernel::KernelResources resources;
  int dynamic_shared = 0;  // allowed beyond the first 48 KB; 0: not asked for
};
using Module = std::map<std::string, Function>;

std::map<void*, std::size_t> memory;
std::size_t used = 0;

int launch(const Function& f, std::uint64_t gx, std::uint64_t gy, std::uint64_t gz, std::uint64_t block,
           unsigned shared, void** params) {
  const std::uint64_t limit = f.resources.max_threads == 0 ? 1024 : f.resources.max_threads;
  const std::uint64_t fixed = f.resources.shared_bytes;
  const std::uint64_t allowed =
      f.dynamic_shared != 0 ? static_cast<std::uint64_t>(f.dynamic_shared) : 48 * 1024 - fixed;
  if (gx == 0 || gy == 0 || gz == 0 || gx > 0x7fffffff || gy > 65535 || gz > 65535) return invalid_value;
  if (block == 0 || block > limit || shared > allowed) return invalid_value;
  if (f.resources.registers * block > 65536) return 701;  // out of resources
  ++gpu.launches;
  if (gpu.run != nullptr)
    gpu.run(f.resources.symbol.c_str(),
            {static_cast<unsigned>(gx), static_cast<unsigned>(gy), static_cast<unsigned>(gz)},
            static_cast<unsigned>(block), shared, params);
  return success;
}

struct LaunchConfig {
  unsigned gx, gy, gz, bx, by, bz, shared;
};

}  // namespace

extern "C" {

FakeGpu* fake_gpu() { return &gpu; }

// NVRTC looks for these two in the driver it finds; without tables it does its work alone.
int cuGetExportTable(const void** table, const void*) { return *table = nullptr, not_found; }
int cuInit(unsigned) { return gpu.init_result; }
int cuDriverGetVersion(int* version) { return *version = gpu.driver_version, success; }
int cuGetErrorName(int code, const char** name) {
  return *name = code == invalid_value   ? "CUDA_ERROR_INVALID_VALUE"
                 : code == out_of_memory ? "CUDA_ERROR_OUT_OF_MEMORY"
                                         : "CUDA_ERROR",
         success;
}
int cuGetErrorString(int code, const char** text) {
  return *text = code == invalid_value ? "invalid argument"
                 : code == no_device   ? "no CUDA-capable device is detected"
                                       : "an error",
         success;
}
int cuDeviceGetCount(int* count) { return *count = gpu.count, success; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, success; }
int cuDeviceGetName(char* name, int size, int) {
  return std::snprintf(name, static_cast<std::size_t>(size), "%s", gpu.name), success;
}
int cuDeviceGetAttribute(int* value, int which, int) {
  *value = which == 75   ? gpu.compute_capability / 10
           : which == 76 ? gpu.compute_capability % 10
           : which == 16 ? 132
           : which == 97 ? gpu.shared_bytes
                         : 0;
  return success;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &gpu, success; }
int cuCtxSetCurrent(void*) { return success; }
int cuCtxGetCurrent(void** context) { return *context = &gpu, success; }
int cuCtxSynchronize() { return success; }

int cuModuleLoadData(Module** module, const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  const std::size_t sections = header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize,
                    programs = header.e_phoff + std::size_t{header.e_phnum} * header.e_phentsize;
  auto loaded = std::make_unique<Module>();
  const std::span bytes(static_cast<const std::byte*>(image), std::max(sections, programs));
  for (auto& kernel : fpf::kernel::kernel_resources(bytes)) (*loaded)[kernel.symbol].resources = kernel;
  return *module = loaded.release(), success;
}
int cuModuleUnload(Module* module) { return delete module, success; }
int cuModuleGetFunction(Function** function, Module* module, const char* name) {
  const auto found = module->find(name);
  if (found == module->end()) return not_found;
  return *function = &found->second, success;
}
int cuFuncGetAttribute(int* value, int which, const Function* f) {
  const auto& r = f->resources;
  const std::uint64_t values[]{r.max_threads,
                               r.shared_bytes,
                               0,
                               r.stack_bytes,
                               r.registers,
                               0,
                               0,
                               0,
                               static_cast<std::uint64_t>(f->dynamic_shared)};
  if (which < 0 || which > 8) return invalid_value;
  return *value = static_cast<int>(values[which]), success;
}
int cuFuncSetAttribute(Function* f, int which, int value) {
  if (which != 8 ||
      static_cast<std::uint64_t>(value) + f->resources.shared_bytes > static_cast<std::uint64_t>(gpu.shared_bytes))
    return invalid_value;
  return f->dynamic_shared = value, success;
}
int cuLaunchKernel(const Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void*, void** params, void**) {
  return launch(*f, gx, gy, gz, std::uint64_t{bx} * by * bz, shared, params);
}
int cuLaunchKernelEx(const LaunchConfig* c, const Function* f, void** params, void**) {
  return launch(*f, c->gx, c->gy, c->gz, std::uint64_t{c->bx} * c->by * c->bz, c->shared, params);
}

int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return *free = gpu.memory_bytes - used, *total = gpu.memory_bytes, success;
}
int cuMemAlloc_v2(void** address, std::size_t bytes) {
  if (bytes > gpu.memory_bytes - used) return out_of_memory;
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return out_of_memory;
  memory[mapped] = bytes;
  used += bytes;
  return *address = mapped, success;
}
int cuMemFree_v2(void* address) {
  const auto found = memory.find(address);
  if (found == memory.end()) return invalid_value;
  used -= found->second;
  ::munmap(address, found->second);
  memory.erase(found);
  return success;
}
int cuMemcpyHtoD_v2(void* to, const void* from, std::size_t bytes) { return std::memcpy(to, from, bytes), success; }
int cuMemcpyDtoH_v2(void* to, const void* from, std::size_t bytes) { return std::memcpy(to, from, bytes), success; }
int cuMemcpyHtoDAsync_v2(void* to, const void* from, std::size_t bytes, void*) {
  return std::memcpy(to, from, bytes), success;
}
int cuMemcpyDtoHAsync_v2(void* to, const void* from, std::size_t bytes, void*) {
  return std::memcpy(to, from, bytes), success;
}
int cuMemcpyDtoDAsync_v2(void*, const void*, std::size_t, void*) { return success; }
int cuMemsetD8_v2(void*, unsigned char, std::size_t) { return success; }

int cuStreamCreate(void** stream, unsigned) { return *stream = &gpu, success; }
int cuStreamSynchronize(void*) { return success; }
int cuStreamQuery(void*) { return success; }
int cuStreamDestroy_v2(void*) { return success; }
int cuStreamBeginCapture_v2(void*, int) { return success; }
int cuStreamEndCapture(void*, void** graph) { return *graph = &gpu, success; }
int cuEventCreate(void** event, unsigned) { return *event = &gpu, success; }
int cuEventRecord(void*, void*) { return success; }
int cuEventSynchronize(void*) { return success; }
int cuEventElapsedTime(float* milliseconds, void*, void*) { return *milliseconds = 1, success; }
int cuEventDestroy_v2(void*) { return success; }
int cuGraphInstantiateWithFlags(void** graph, void*, unsigned long long) { return *graph = &gpu, success; }
int cuGraphLaunch(void*, void*) { return success; }
int cuGraphExecDestroy(void*) { return success; }
int cuGraphDestroy(void*) { return success; }
}
