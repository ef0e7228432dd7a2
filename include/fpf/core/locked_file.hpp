// Files that grow while one process holds them.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fpf/core/atomic_file.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf {

/// A file that is appended to, line by line, each on disk before anything goes on. Its lock is the kernel's, so that no
/// process that ends leaves one behind; where a file system has no locks there is none.
class LockedFile {
 public:
  /// Opens or makes it. Throws Error when it cannot be written, and with `busy` while another process holds it.
  LockedFile(std::filesystem::path path, const std::string& busy) : path_(std::move(path)) {
    do {
      close();
      fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
      if (fd_ < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
      if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close();
        throw Error(busy);
      }
    } while (!is_at_path());
  }
  LockedFile(const LockedFile&) = delete;
  LockedFile& operator=(const LockedFile&) = delete;
  ~LockedFile() { close(); }

  const std::filesystem::path& path() const { return path_; }

  /// Throws Error when it cannot be written (a full disk, say).
  void append(std::string_view text) { append(std::vector{text}); }

  /// The same of a line in parts, one behind the other.
  void append(const std::vector<std::string_view>& parts) {
    for (const std::string_view part : parts) write_all(fd_, part, path_);
    if (::fsync(fd_) != 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  }

  /// Fills `to` with the bytes from `offset` on. Throws Error when they are not there.
  void read(std::uintmax_t offset, std::span<char> to) const {
    while (!to.empty()) {
      const ssize_t count = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0)
        fail("cannot read {} from byte {} on: {}", path_.string(), offset,
             count < 0 ? std::strerror(errno) : "it ends there");
      to = to.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uintmax_t>(count);
    }
  }

  /// Cuts off what is behind the first `bytes`.
  void truncate(std::uintmax_t bytes) {
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0)
      fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  }

  /// While it is still locked, so that nobody's new one goes.
  void remove() { ::unlink(path_.c_str()); }

 private:
  /// The process that held it may have removed it in between: then this is a file without a name.
  bool is_at_path() const {
    struct stat own {
    }, named{};
    return ::fstat(fd_, &own) == 0 && ::stat(path_.c_str(), &named) == 0 && own.st_dev == named.st_dev &&
           own.st_ino == named.st_ino;
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace fpf
