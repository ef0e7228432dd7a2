// Toolkits that compile kernels on a machine without a GPU: libtorch's own, and those of cmake/setup.sh --cuda.
#pragma once

#include <filesystem>
#include <fpf/kernel/nvrtc.hpp>
#include <memory>

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
