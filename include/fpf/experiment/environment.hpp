// The software and devices a run stands on, as loaded.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include <fpf/core/dtype.hpp>
#include <fpf/evidence/manifest.hpp>

#if __has_include(<cuda_runtime_api.h>)
#include <cuda_runtime_api.h>
#endif

#include <string>

namespace fpf {

/// "2.11.0": the libtorch the program was built against and loads.
inline std::string torch_version() {
  return fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH);
}

/// "13.0": the CUDA toolkit of that libtorch, or "none".
inline std::string cuda_version() {
#ifdef CUDART_VERSION
  return fmt::format("{}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
#else
  return "none";
#endif
}

/// The manifest's part about the machine and libraries.
inline nlohmann::ordered_json describe_environment(const std::string& device) {
  nlohmann::ordered_json out;
  out["fpf"] = {{"version", version}, {"revision", source_revision()}};
  out["device"] = {{"type", device}, {"name", evidence::cpu_name()}, {"cores", std::thread::hardware_concurrency()}};
  out["threads"] = at::get_num_threads();
  out["cpu_capability"] = at::get_cpu_capability();
  out["libraries"] = {{"libtorch", torch_version()}, {"cuda", cuda_version()}};
  out["knobs"] = {{"deterministic_algorithms", at::globalContext().deterministicAlgorithms()},
                  {"tf32_matmul", at::globalContext().allowTF32CuBLAS()},
                  {"float32_matmul_precision", "highest"}};
  return out;
}

}  // namespace fpf
