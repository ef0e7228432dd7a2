// A read-only memory map of a regular file.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/file_stamp.hpp>
#include <fpf/core/lost_pages.hpp>
#include <span>
#include <string_view>
#include <utility>

namespace fpf {

/// Maps a whole file for reading; pages come in as they are touched. Move-only; unmapped at destruction.
/// `padding` extra readable zero bytes stand behind the content where a reader needs to overrun it
/// (decimal_overrun, say): the file is laid over a larger anonymous map.
/// Throws Error when the path is missing, unreadable or no regular file. A file that gets shorter while it is mapped is
/// a signal: see catch_lost_pages().
class MappedFile {
 public:
  MappedFile() = default;

  explicit MappedFile(const std::filesystem::path& path, std::size_t padding = 0) : path_(path) {
    if (path.empty()) fail("cannot open a file without a name");
    if (path.native().find('\0') != std::string::npos)
      fail("cannot open {}: no file's name has a zero byte", path.string());
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) fail("cannot open {}: {}", path.string(), std::strerror(errno));
    struct stat status {};
    if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(fd);
      fail("cannot read {}: expected a regular file, found {}", path.string(),
           S_ISDIR(status.st_mode) ? "a directory" : "something else");
    }
    stamp_ = FileStamp::of(status);
    size_ = static_cast<std::size_t>(status.st_size);
    mapped_ = size_ + padding;
    if (mapped_ != 0) map(fd, padding);
    ::close(fd);
  }

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile(std::move(other)).swap(*this);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (data_ == nullptr) return;
    known_->leave();
    ::munmap(data_, mapped_);
  }

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }
  std::size_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  /// Of the file that is mapped, whatever stands under its path by now.
  const FileStamp& stamp() const { return stamp_; }

 private:
  void map(int fd, std::size_t padding) {
    void* region = MAP_FAILED;
    if (padding == 0) {
      region = ::mmap(nullptr, mapped_, PROT_READ, MAP_PRIVATE, fd, 0);
    } else {
      region = ::mmap(nullptr, mapped_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (region != MAP_FAILED && size_ != 0 &&
          ::mmap(region, size_, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED) {
        ::munmap(region, mapped_);
        region = MAP_FAILED;
      }
    }
    if (region == MAP_FAILED) {
      const int error = errno;
      ::close(fd);
      fail("cannot map {} ({} bytes): {}", path_.string(), size_, std::strerror(error));
    }
    data_ = region;
    known_ = KnownMapping::enter(data_, mapped_, path_.string());
  }

  void swap(MappedFile& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(stamp_, other.stamp_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
    std::swap(known_, other.known_);
  }

  std::filesystem::path path_;
  FileStamp stamp_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;
  KnownMapping* known_ = nullptr;
};

}  // namespace fpf
