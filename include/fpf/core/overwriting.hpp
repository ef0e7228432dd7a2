// What a program writes or removes is none of what it reads: the one place that says so, by the files themselves, not
// by their names.
#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/program.hpp>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace fpf {

/// A file or folder as the user named it, with the option that named it ("--model", or what an operand is called).
struct NamedPath {
  std::string option;
  std::string path;  // empty, or of nothing that is there: no file
  bool with_files =
      false;  // of a folder those in it are read, of a GGUF file those beside it, which may be its other parts

  std::string text() const { return option + " " + path; }
};

/// The file that --config names.
inline NamedPath config_file(const po::variables_map& values) {
  return {"--config", values.count("config") != 0 ? values["config"].as<std::string>() : std::string()};
}

inline void append_paths(std::vector<NamedPath>& to, const std::string& option, const std::vector<std::string>& paths,
                         bool with_files = false) {
  for (const std::string& path : paths) to.push_back({option, path, with_files});
}

namespace detail {

using FileId = std::pair<dev_t, ino_t>;

/// Of what a path leads to, through links; nothing where there is no file.
inline std::optional<FileId> file_id(const std::filesystem::path& path) {
  struct stat found {};
  if (path.empty() || ::stat(path.c_str(), &found) != 0) return {};
  return FileId{found.st_dev, found.st_ino};
}

}  // namespace detail

/// Without links; of a path that is not there its folders that are.
inline std::filesystem::path resolved(std::filesystem::path path) {
  for (path = std::filesystem::absolute(path).lexically_normal();; path = path.parent_path()) {
    const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr), &std::free);
    if (found) return found.get();
    if (!path.has_relative_path()) return path;
  }
}

namespace detail {

/// Calls visit(file) for the files that are read where `path` is named: of a folder those in it, of a GGUF file those
/// beside it, which may be its other parts.
template <class Visit>
void for_each_read_with(const std::filesystem::path& path, Visit visit) {
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored), part = path.extension() == ".gguf";
  if (!folder && !part) return;
  const auto where = folder ? path : path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(where, ignored))
    if (folder || entry.path().extension() == ".gguf") visit(entry.path());
}

}  // namespace detail

/// Whether a folder is what `path` leads to, or around it, also where `path` is still to be made.
inline bool holds(const std::filesystem::path& folder, const std::filesystem::path& path) {
  const auto wanted = detail::file_id(folder);
  if (!wanted || path.empty()) return false;
  for (auto at = resolved(path);; at = at.parent_path()) {
    if (detail::file_id(at) == wanted) return true;
    if (!at.has_relative_path()) return false;
  }
}

/// Throws Error naming both where what is to be written is an input, by whatever name (a link, ./x), or one of the
/// files that an input stands for, or a folder that is replaced with an input in it.
inline void refuse_overwriting(const NamedPath& output, const std::vector<NamedPath>& inputs) {
  const auto own = detail::file_id(output.path);
  if (!own) return;
  for (const NamedPath& input : inputs) {
    const auto other = detail::file_id(input.path);
    if (!other) continue;
    if (own == other)
      fail("{} is the file that {} names: it would be overwritten; name another", output.text(), input.text());
    if (std::filesystem::is_directory(output.path)) {
      if (holds(output.path, input.path))
        fail("{} holds {}: it would be replaced; name another", output.text(), input.text());
      continue;
    }
    if (!input.with_files) continue;
    detail::for_each_read_with(input.path, [&](const std::filesystem::path& file) {
      if (detail::file_id(file) == own)
        fail("{} is {}, which belongs to {}: it would be overwritten; name another", output.text(), file.string(),
             input.text());
    });
  }
}

}  // namespace fpf
