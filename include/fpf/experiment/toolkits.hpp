// CUDA toolkits whose compilers make fpf's own kernels, in one process: what --cuda names.
#pragma once

#include <filesystem>
#include <fpf/core/parse_number.hpp>
#include <fpf/device/kernels.hpp>
#include <string>
#include <vector>

namespace fpf {

/// A toolkit that can serve the GPU.
struct NamedToolkit {
  std::string version;  // "12.1"
  device::SharedCompiler compiler;
};

namespace detail {

inline bool is_cuda_version(const std::string& text) {
  const auto point = text.find('.');
  return point != std::string::npos && parse_number<int>(text.substr(0, point)) &&
         parse_number<int>(text.substr(point + 1));
}

/// The folder that --cuda VERSION or --cuda DIR means: a version's lies beside the programs' folder.
inline std::filesystem::path toolkit_folder(const std::string& given) {
  if (!is_cuda_version(given)) {
    if (!std::filesystem::is_directory(given)) fail("--cuda {}: neither a version, as 12.1, nor a folder", given);
    return given;
  }
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  const auto folder = program.parent_path().parent_path() / ("cuda-" + given);
  if (!std::filesystem::is_directory(folder))
    fail(
        "--cuda {}: there is no {}: 'bash cmake/setup.sh --cuda {}' brings toolkits that it knows; of others name the "
        "folder",
        given, folder.string(), given);
  return folder;
}

}  // namespace detail

/// Opens --cuda's toolkits and checks each before anything runs. Throws Error, naming the option, for a toolkit that is
/// not there, is of another version, lacks CUDA's headers, makes no code for the GPU or code that its driver does not
/// take, or whose version is `own`, that of the baseline's kernels; and where there is no GPU.
inline std::vector<NamedToolkit> open_toolkits(const std::vector<std::string>& given, const std::string& device,
                                               const std::string& own) {
  std::vector<NamedToolkit> out;
  for (const std::string& one : given) {
    const auto compiler = std::make_shared<const kernel::Compiler>(kernel::find_toolkit(detail::toolkit_folder(one)));
    const std::string found = compiler->version_name();
    if (detail::is_cuda_version(one) && found != one)
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
