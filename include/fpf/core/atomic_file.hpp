// Files that appear under their name only when they are complete.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace fpf {

/// Appends to a file descriptor, whole. Throws Error naming the path (a full disk, say).
inline void write_all(int fd, std::string_view text, const std::filesystem::path& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write {}: {}", path.string(), std::strerror(errno));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// Writes to a temporary name beside `path`; commit() syncs and renames. Without commit() nothing remains. Throws Error
/// when something stands there that is no regular file: a device would be replaced (by root, /dev/null for the whole
/// machine).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path)
      : path_(std::move(path)), temporary_(path_.string() + fmt::format(".tmp{}", ::getpid())) {
    if (path_.empty()) fail("cannot write a file without a name");
    std::error_code ignored;
    const auto status = std::filesystem::status(path_, ignored);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      fail("cannot write {}: expected a file's name, found a {}", path_.string(),
           std::filesystem::is_directory(status) ? "directory" : "device or pipe");
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd_ < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }

  AtomicFile& append(std::string_view text) {
    write_all(fd_, text, path_);
    return *this;
  }

  /// Writes at a byte offset, for content that does not arrive in order. Not to be mixed with append().
  void write_at(std::size_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
      offset += static_cast<std::size_t>(written);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void commit() {
    if (::fsync(fd_) != 0 || ::close(std::exchange(fd_, -1)) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
      const int error = errno;
      ::unlink(temporary_.c_str());
      fail("cannot finish {}: {}", path_.string(), std::strerror(error));
    }
  }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
};

}  // namespace fpf
