// CUDA toolkits whose compilers make fpf's own kernels, in one process: what --cuda names.
#pragma once

#include <fpf/device/kernels.hpp>
#include <fpf/kernel/host/toolkit_folder.hpp>
#include <string>
#include <vector>

namespace fpf {

/// A toolkit that can serve the GPU.
struct NamedToolkit {
  std::string version;  // "12.1"
  device::SharedCompiler compiler;
};

/// Opens --cuda's toolkits and checks each before anything runs. Throws Error, naming the option, for a toolkit that is
/// not there, is of another version, lacks CUDA's headers, makes no code for the GPU or code that its driver does not
/// take, or whose version is `own`, that of the baseline's kernels; and where there is no GPU.
inline std::vector<NamedToolkit> open_toolkits(const std::vector<std::string>& given, const std::string& device,
                                               const std::string& own) {
  std::vector<NamedToolkit> out;
  for (const std::string& one : given) {
    const auto compiler = std::make_shared<const kernel::Compiler>(kernel::find_toolkit(kernel::toolkit_folder(one)));
    const std::string found = compiler->version_name();
    if (kernel::is_cuda_version(one) && found != one)
      fail("--cuda {}: the compiler found is NVRTC {} ({})", one, found, compiler->toolkit().nvrtc.string());
    if (compiler->toolkit().include.empty())
      fail("--cuda {}: there are no CUDA headers (cuda_fp16.h) beside {}", one, compiler->toolkit().nvrtc.string());
    if (found == own) fail("--cuda {}: the baseline's kernels are NVRTC {}'s, too", one, own);
    if (!device.starts_with("cuda"))
      fail("--cuda {}: kernels are compiled for a GPU, and this runs on {}; --stack compares builds of libtorch there",
           one, device);
    const device::ToolkitScope scope(compiler);
    device::kernels(at::Device(device));  // asks toolkit, GPU and driver whether they fit
    out.push_back({found, compiler});
  }
  return out;
}

}  // namespace fpf
