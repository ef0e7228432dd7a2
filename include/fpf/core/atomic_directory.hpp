// Folders that appear under their name only when they are complete.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <system_error>

namespace fpf {

/// Removes a file or a folder with what is in it; what cannot be removed stays. In programs that link libtorch
/// std::filesystem::remove_all is libtorch's own copy, which jumps to a null address.
inline void remove_tree(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(std::filesystem::symlink_status(path, ignored)))
    for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) remove_tree(entry.path());
  std::filesystem::remove(path, ignored);
}

/// A folder, filled under a temporary name beside `path`; commit() gives it its name. Without commit()
/// nothing remains, and what was there stays.
class AtomicDirectory {
 public:
  /// What becomes of a folder that is there and not empty.
  enum class Existing { refused, replaced };

  /// Throws Error when there is something at `path` that is no folder, or a folder that is refused, or
  /// nothing can be made beside it.
  explicit AtomicDirectory(const std::filesystem::path& path, Existing existing = Existing::refused)
      : path_(std::filesystem::absolute(path).lexically_normal()), existing_(existing) {
    if (!path_.has_filename()) path_ = path_.parent_path();  // a trailing slash
    std::error_code error;
    const auto status = std::filesystem::symlink_status(path_, error);
    if (std::filesystem::exists(status) && !std::filesystem::is_directory(status))
      fail("{} exists and is no folder: expected a new or empty one", path.string());
    if (existing == Existing::refused && std::filesystem::is_directory(status) && !std::filesystem::is_empty(path_))
      fail("the folder {} is not empty: expected a new or empty one", path.string());
    temporary_ = path_.parent_path() / fmt::format(".{}.tmp{}", path_.filename().string(), ::getpid());
    remove_tree(temporary_);  // a killed process of the same id left it
    if (!std::filesystem::create_directory(temporary_, error) || error)
      fail("cannot make the folder {}: {}", path.string(), error ? error.message() : "its temporary name is taken");
  }
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory() {
    if (!temporary_.empty()) remove_tree(temporary_);
  }

  /// Where to put the content until commit().
  const std::filesystem::path& content() const { return temporary_; }

  /// Throws Error when the disk has fewer bytes free.
  void require_space(std::uintmax_t bytes) const {
    const auto free = std::filesystem::space(temporary_).available;
    if (free < bytes)
      fail("{} needs {:.1f} GB: its disk has {:.1f} GB free", path_.string(), static_cast<double>(bytes) / 1e9,
           static_cast<double>(free) / 1e9);
  }

  /// Throws Error when the folder cannot be put in its place.
  void commit() {
    if (const int folder = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
      ::fsync(folder);
      ::close(folder);
    }
    if (::rename(temporary_.c_str(), path_.c_str()) == 0) return temporary_.clear();
    if (existing_ == Existing::refused) fail("cannot finish {}: {}", path_.string(), std::strerror(errno));
    replace();
  }

 private:
  /// The two change names in one step, where the file system can do that. What was there goes with this.
  void replace() {
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0) return;
    const std::filesystem::path old = path_.string() + fmt::format(".old{}", ::getpid());
    if (::rename(path_.c_str(), old.c_str()) != 0) fail("cannot replace {}: {}", path_.string(), std::strerror(errno));
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
      const int error = errno;
      ::rename(old.c_str(), path_.c_str());
      fail("cannot replace {}: {}", path_.string(), std::strerror(error));
    }
    temporary_ = old;
  }

  std::filesystem::path path_;
  Existing existing_;
  std::filesystem::path temporary_;  // removed in the end
};

}  // namespace fpf
