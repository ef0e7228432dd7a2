// Whether a stored run's vectors are those that its digests were made of.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fpf/core/atomic_file.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <string>
#include <string_view>

namespace fpf::evidence {

namespace detail {

/// A file in memory, for what reads files alone.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view text) : fd_(::memfd_create("fpf record", MFD_CLOEXEC)) {
    if (fd_ < 0) fail("cannot make a file in memory: {}", std::strerror(errno));
    write_all(fd_, text, path());
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(fd_); }

  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

}  // namespace detail

/// Of an experiment whose text is in memory, the first run whose vectors do not fit its digests or cannot be read, and
/// why; empty where there is none.
inline std::string digest_fault(const std::string& experiment) {
  const detail::MemoryFile memory(experiment);
  try {
    const ExperimentFile file = open_experiment(memory.path());
    for (const StoredRun& run : file.runs) {
      if (run.members.value("status", "complete") == "complete" && !states_digests(run))
        return run_name(file, run) + " has no digests";
      if (const auto found = digest_contradictions(file, run); !found.empty()) return found.front();
    }
  } catch (const Error& error) {
    std::string text = error.what();
    const std::string name = memory.path() + ": ";
    if (const auto at = text.find(name); at != text.npos) text.erase(at, name.size());
    return text;
  }
  return "";
}

}  // namespace fpf::evidence
