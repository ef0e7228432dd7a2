// The software and devices a run stands on, as loaded.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <fpf/core/dtype.hpp>
#include <fpf/evidence/manifest.hpp>

#include <charconv>
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
  std::size_t number = 0;
  const char* const end = name.data() + name.size();
  const bool numbered = name.starts_with("cuda:");
  const auto parsed =
      numbered ? std::from_chars(name.data() + 5, end, number) : std::from_chars_result{end, {}};
  if ((name != "cuda" && !numbered) || parsed.ptr != end || parsed.ec != std::errc())
    fail("--device {}: expected cpu, cuda or cuda:N", name);
  if (number >= at::getNumGPUs())
    fail("--device {}: libtorch finds {} CUDA devices on this machine", name, at::getNumGPUs());
}

/// The manifest's part about the machine and libraries.
inline nlohmann::ordered_json describe_environment(const std::string& device) {
  nlohmann::ordered_json out;
  out["fpf"] = {{"version", version}, {"revision", source_revision()}};
  out["device"] = {{"type", device}, {"name", evidence::cpu_name()}, {"cores", std::thread::hardware_concurrency()}};
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
