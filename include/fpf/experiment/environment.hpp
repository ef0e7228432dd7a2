// The software and devices a run stands on, as loaded.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <fpf/core/dtype.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/device/kernels.hpp>
#include <fpf/evidence/manifest.hpp>
#include <fpf/kernel/host/driver_api.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>

namespace fpf {

/// What the libtorch that is loaded says of its build: "TORCH_VERSION" -> "2.11.0"; "none" where it says
/// nothing.
inline std::string libtorch_setting(std::string_view name) {
  static const std::string config = at::show_config();
  const std::string key = fmt::format(" {}=", name);
  const auto at = config.find(key);
  if (at == std::string::npos) return "none";
  const auto begin = at + key.size();
  return config.substr(begin, config.find_first_of(",\n", begin) - begin);
}

inline std::string torch_version() { return libtorch_setting("TORCH_VERSION"); }

/// "13.0": the CUDA toolkit of that libtorch, or "none".
inline std::string cuda_version() { return libtorch_setting("CUDA_VERSION"); }

/// Throws Error for a device that is not cpu, cuda or cuda:N, or that this machine lacks.
inline void require_device(const std::string& name) {
  if (name == "cpu") return;
  const auto number = name == "cuda"              ? std::optional<std::size_t>(0)
                      : name.starts_with("cuda:") ? parse_number<std::size_t>(std::string_view(name).substr(5))
                                                  : std::nullopt;
  if (!number) fail("--device {}: expected cpu, cuda or cuda:N", name);
  if (*number >= at::getNumGPUs())
    fail("--device {}: libtorch finds {} CUDA devices on this machine", name, at::getNumGPUs());
}

/// "cuda" where libtorch finds a GPU, else "cpu".
inline std::string default_device() { return at::getNumGPUs() > 0 ? "cuda" : "cpu"; }

/// The device's own name, without a count: "NVIDIA H100 80GB HBM3", or the processor's.
inline std::string device_name(const std::string& device) {
  if (device == "cpu") return evidence::cpu_name();
  const at::Device parsed(device);
  return kernel::cuda::device_info(parsed.has_index() ? parsed.index() : 0).name;
}

/// The device as the driver and libtorch report it.
inline nlohmann::ordered_json describe_device(const std::string& device) {
  nlohmann::ordered_json out = {
      {"type", device}, {"name", device_name(device)}, {"cores", std::thread::hardware_concurrency()}};
  if (device == "cpu") return out;
  const at::Device parsed(device);
  const auto info = kernel::cuda::device_info(parsed.has_index() ? parsed.index() : 0);
  out["host"] = evidence::cpu_name();
  out["multiprocessors"] = info.multiprocessors;
  out["compute_capability"] = fmt::format("{}.{}", info.compute_capability / 10, info.compute_capability % 10);
  out["driver"] = fmt::format("CUDA {}.{}", info.driver_version / 1000, info.driver_version % 1000 / 10);
  out["clock_mhz"] = info.clock_khz / 1000;
  out["memory_clock_mhz"] = info.memory_khz / 1000;
  return out;
}

/// The kernels of fpf's own that were built for the device so far: source, options, cubin and machine code by their
/// hashes.
inline nlohmann::ordered_json describe_kernels(const std::string& device) {
  auto out = nlohmann::ordered_json::array();
  if (device == "cpu") return out;
  for (const auto& record : device::kernels(at::Device(device)).records())
    out.push_back({{"name", record.name},
                   {"source_sha256", record.source_sha256},
                   {"options", record.options},
                   {"nvrtc", record.nvrtc_version},
                   {"cubin_sha256", record.cubin_sha256},
                   {"code_sha256", record.resources.code_sha256},
                   {"instructions", record.resources.instructions},
                   {"registers", record.resources.registers}});
  return out;
}

/// The manifest's part about the machine and libraries.
inline nlohmann::ordered_json describe_environment(const std::string& device) {
  nlohmann::ordered_json out;
  out["fpf"] = {{"version", version}, {"revision", source_revision()}};
  out["device"] = describe_device(device);
  out["threads"] = at::get_num_threads();
  out["cpu_capability"] = at::get_cpu_capability();
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  out["libraries"] = {{"libtorch", torch_version()},
                      {"cuda", cuda_version()},
                      {"mkl", first_line(at::get_mkl_version())},
                      {"onednn", first_line(at::get_mkldnn_version())},
                      {"openmp", first_line(at::get_openmp_version())}};
  out["knobs"] = {{"deterministic_algorithms", at::globalContext().deterministicAlgorithms()},
                  {"tf32_matmul", at::globalContext().allowTF32CuBLAS()},
                  {"float32_matmul_precision", "highest"}};
  return out;
}

}  // namespace fpf
