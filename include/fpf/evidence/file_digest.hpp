// SHA-256 of large files: hashed beside other work, or taken from a cache that only the user's own programs fill.
//
// A digest that travels with a file proves nothing of it, and size and modification time are kept by whoever copies.
// The cache is therefore a folder of the user's own, and an entry counts for one inode in one state: device, inode,
// size, time of modification and time of change, which no program can set, in nanoseconds.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/cache_folder.hpp>
#include <fpf/core/file_stamp.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/progress.hpp>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

namespace fpf::evidence {

/// Whether a digest may come from the cache.
enum class Hashing : std::uint8_t { cached, content };

/// A file's digest and where it is from.
struct FileDigest {
  std::string sha256;
  Hashing from = Hashing::content;
};

/// The digests of earlier runs, a small file an inode in user_cache_folder()/sha256.
class DigestCache {
 public:
  explicit DigestCache(std::filesystem::path folder = user_cache_folder() / "sha256") : folder_(std::move(folder)) {}

  std::optional<std::string> find(const FileStamp& stamp) const {
    if (!folder_.is_absolute()) return std::nullopt;
    const std::string head = line_of(stamp);
    std::ifstream in(file_of(stamp));
    std::string line;
    if (!std::getline(in, line) || in.eof() || !line.starts_with(head) || line.size() != head.size() + 64)
      return std::nullopt;
    return line.substr(head.size());
  }

  /// Keeps a digest, where that can be written. Not of a file that changed within the last seconds: a clock's tick may
  /// hide a further change behind the same times.
  void keep(const FileStamp& stamp, const std::string& sha256) const {
    using namespace std::chrono;
    constexpr std::int64_t settled = 3'000'000'000;
    const auto now = duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
    if (!folder_.is_absolute() || std::max(stamp.modified, stamp.changed) > now - settled) return;
    std::error_code ignored;
    std::filesystem::create_directories(folder_, ignored);
    try {
      AtomicFile(file_of(stamp)).append(line_of(stamp) + sha256 + "\n").commit();
    } catch (const Error&) {  // hashed again next time
    }
  }

 private:
  std::filesystem::path file_of(const FileStamp& stamp) const {
    return folder_ / fmt::format("{}-{}", stamp.device, stamp.inode);
  }
  static std::string line_of(const FileStamp& s) {
    return fmt::format("{} {} {} {} {} ", s.device, s.inode, s.size, s.modified, s.changed);
  }

  std::filesystem::path folder_;
};

namespace detail {

[[noreturn]] inline void fail_changed(const std::filesystem::path& path) {
  fail("{} changed while it was in use: what was loaded has no one digest; run again when it stands still",
       path.string());
}

/// A file's content, piece by piece: a map's pages would count as this process's memory, beside the model's own. It
/// must be the file that `stamp` is of; `stamp` becomes that of the state that was read. `advance(bytes)` after each
/// piece may throw.
template <class Advance>
std::string hash_content(const std::filesystem::path& path, FileStamp& stamp, Advance advance) {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  } const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  const auto now = [&] {
    struct stat status {};
    if (file.fd < 0 || ::fstat(file.fd, &status) != 0) fail("cannot read {}: {}", path.string(), std::strerror(errno));
    const auto found = FileStamp::of(status);
    if (!found.is_same_file(stamp)) fail_changed(path);
    return found;
  };
  stamp = now();
  ::posix_fadvise(file.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  std::vector<std::byte> piece(std::size_t{1} << 20);
  Sha256 hash;
  for (;;) {
    const ssize_t count = ::read(file.fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot read {}: {}", path.string(), std::strerror(errno));
    if (count == 0) break;
    hash.update(std::span(piece).first(static_cast<std::size_t>(count)));
    advance(static_cast<std::uint64_t>(count));
  }
  if (now() != stamp) fail_changed(path);
  return hash.hex();
}

}  // namespace detail

/// Digests of a set of files, found by threads of their own from construction on; their content must stay as it is
/// until the last question. Not to be copied or moved.
class FileDigests {
 public:
  /// `stamps`: of each file when it was opened.
  FileDigests(std::vector<std::filesystem::path> files, std::vector<FileStamp> stamps, Hashing hashing,
              DigestCache cache = DigestCache{})
      : files_(std::move(files)),
        stamps_(std::move(stamps)),
        hashing_(hashing),
        cache_(std::move(cache)),
        digests_(files_.size()) {
    for (const FileStamp& stamp : stamps_) total_ += stamp.size;
    const std::size_t workers = std::min<std::size_t>(files_.size(), std::max(1u, std::thread::hardware_concurrency()));
    running_ = static_cast<int>(workers);
    for (std::size_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }
  FileDigests(const FileDigests&) = delete;
  FileDigests& operator=(const FileDigests&) = delete;
  ~FileDigests() {
    stop_ = true;
    join();
  }

  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::vector<FileStamp>& stamps() const { return stamps_; }

  /// In the order of the files, once all are found; what is left to do is shown as progress. Throws Error for a file
  /// that cannot be read or is no longer what it was at construction, and Interrupted.
  const std::vector<FileDigest>& wait(Verbosity verbosity) {
    if (!threads_.empty()) {
      constexpr std::uint64_t unit = 1'000'000;
      Progress progress("hashing the weights, MB", static_cast<std::int64_t>(total_ / unit), verbosity);
      for (std::uint64_t shown = 0; running_ != 0; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
        check_interrupt();
        if (const std::uint64_t now = hashed_ / unit; now != shown) {
          progress.advance(static_cast<std::int64_t>(now - shown));
          shown = now;
        }
      }
      join();
    }
    check_interrupt();
    if (error_) std::rethrow_exception(error_);
    for (std::size_t i = 0; i < files_.size(); ++i) {
      FileStamp now = FileStamp::of(files_[i]);
      if (now == stamps_[i]) continue;
      if (!now.is_same_file(stamps_[i]) ||
          detail::hash_content(files_[i], now, [](std::uint64_t) { check_interrupt(); }) != digests_[i].sha256)
        detail::fail_changed(files_[i]);
      stamps_[i] = now;
    }
    return digests_;
  }

 private:
  void work() {
    try {
      for (std::size_t i = next_++; i < files_.size(); i = next_++) digests_[i] = digest_of(i);
    } catch (...) {
      if (!failed_.test_and_set()) error_ = std::current_exception();
      stop_ = true;
    }
    --running_;
  }

  FileDigest digest_of(std::size_t i) {
    if (hashing_ == Hashing::cached && FileStamp::of(files_[i]) == stamps_[i])
      if (auto found = cache_.find(stamps_[i])) {
        hashed_ += stamps_[i].size;
        return {std::move(*found), Hashing::cached};
      }
    const auto advance = [this](std::uint64_t bytes) {
      hashed_ += bytes;
      if (stop_) throw Interrupted();
    };
    FileDigest out{detail::hash_content(files_[i], stamps_[i], advance), Hashing::content};
    cache_.keep(stamps_[i], out.sha256);
    return out;
  }

  void join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

  std::vector<std::filesystem::path> files_;
  std::vector<FileStamp> stamps_;
  Hashing hashing_;
  DigestCache cache_;
  std::vector<FileDigest> digests_;
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> hashed_ = 0;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<int> running_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic_flag failed_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace fpf::evidence
