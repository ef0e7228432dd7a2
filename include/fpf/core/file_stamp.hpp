// What tells one state of a file from another.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>

namespace fpf {

/// A file in one state.
struct FileStamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified = 0, changed = 0;  // nanoseconds since 1970

  friend bool operator==(const FileStamp&, const FileStamp&) = default;

  /// Whether both may have one content: touch, chmod and new hard links change times alone.
  bool is_same_file(const FileStamp& other) const {
    return device == other.device && inode == other.inode && size == other.size;
  }

  static FileStamp of(const struct stat& status) {
    const auto nanoseconds = [](const timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
    return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
            nanoseconds(status.st_ctim)};
  }
  /// Throws Error when there is no such file.
  static FileStamp of(const std::filesystem::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) fail("cannot read {}: {}", path.string(), std::strerror(errno));
    return of(status);
  }
};

}  // namespace fpf
