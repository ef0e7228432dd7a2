// Toolkits that compile kernels on a machine without a GPU: libtorch's own, and those of cmake/setup.sh --cuda.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fpf/kernel/host/builder.hpp>
#include <fstream>
#include <memory>
#include <vector>

/// The wheels' folder that libtorch lies in.
inline const std::filesystem::path packages =
    std::filesystem::weakly_canonical(std::filesystem::path(FPF_BUILD) / "torch").parent_path();

inline std::shared_ptr<const fpf::kernel::Compiler> compiler() {
  static const auto shared =
      std::make_shared<const fpf::kernel::Compiler>(fpf::kernel::find_toolkit(packages / "nvidia/cu13"));
  return shared;
}

/// Another toolkit's, "11.8" say.
inline std::shared_ptr<const fpf::kernel::Compiler> compiler(const std::string& version) {
  return std::make_shared<const fpf::kernel::Compiler>(
      fpf::kernel::find_toolkit(std::filesystem::path(FPF_BUILD) / ("cuda-" + version)));
}

/// Of the kernels by older toolkits every eighth is compiled, of each set another, unless all are asked for
/// (tests/run.sh --full).
inline std::size_t step_of_older_toolkits() { return std::getenv("FPF_FULL_TESTS") != nullptr ? 1 : 8; }

/// With FPF_WRITE_CODE=<file>: adds a line a kernel, "<toolkit> <architecture> <code_sha256> <expression>", in the order of
/// the plans. A move that changes no machine code leaves the first three words of every line as they were.
inline void write_code(const std::vector<fpf::kernel::KernelRecord>& records) {
  const char* to = std::getenv("FPF_WRITE_CODE");
  if (to == nullptr) return;
  std::ofstream out(to, std::ios::app);
  for (const auto& one : records)
    out << one.nvrtc_version << " sm_" << one.architecture << " " << one.resources.code_sha256 << " " << one.name
        << "\n";
}
