// The toolkit in libtorch's environment, which compiles kernels on a machine without a GPU.
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
