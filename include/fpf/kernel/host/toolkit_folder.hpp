// CUDA toolkits as users name them: a version or a folder.
#pragma once

#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/parse_number.hpp>
#include <string>

namespace fpf::kernel {

inline bool is_cuda_version(const std::string& text) {
  const auto point = text.find('.');
  return point != std::string::npos && parse_number<int>(text.substr(0, point)) &&
         parse_number<int>(text.substr(point + 1));
}

/// The folder that --cuda VERSION or --cuda DIR means: a version's lies beside the programs' folder. Throws Error
/// naming the option.
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

}  // namespace fpf::kernel
