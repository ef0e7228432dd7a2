// Whether a stored run's vectors are those that its digests were made of.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fpf/core/atomic_file.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace fpf::evidence {

/// What does not fit in a run; empty where everything does. A run that ends before a value that is no number has digests of
/// more than it holds: nothing is said of it. Throws Error for vectors that cannot be read.
inline std::string digest_fault(const ExperimentFile& file, const StoredRun& run) {
  if (run.members.value("status", "complete") != "complete") return "";
  const Digests own = digests_of(read_signals(file, run, read_texts(file, run)));
  if (const auto claimed = run.members.value("signals_sha256", nlohmann::json()); claimed != own.combined())
    return fmt::format("its signals_sha256 is {}, its vectors have {}", claimed.dump(), own.combined());
  for (const auto& one :
       run.members.value(nlohmann::json::json_pointer("/reproducibility/digests"), nlohmann::json())) {
    if (one.value("rep_id", -1) != run.rep_id) continue;
    for (const auto& [name, found] : {std::pair{"hidden_states", own.hidden_states},
                                      {"key_vectors", own.key_vectors},
                                      {"logprobs", own.logprobs},
                                      {"router", own.router}})
      if (const auto claimed = one.value(name, nlohmann::json()); claimed != found)
        return fmt::format("its digest of {} is {}, its vectors have {}", name, claimed.dump(), found);
    return "";
  }
  return fmt::format("reproducibility.digests has none of repetition {}", run.rep_id);
}

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

/// Of an experiment whose text is in memory, the first run whose vectors do not fit its digests or cannot be read, and why;
/// empty where there is none.
inline std::string digest_fault(const std::string& experiment) {
  const detail::MemoryFile memory(experiment);
  try {
    const ExperimentFile file = open_experiment(memory.path());
    for (const StoredRun& run : file.runs)
      if (const std::string fault = digest_fault(file, run); !fault.empty())
        return detail::run_name(file, run) + ": " + fault;
  } catch (const Error& error) {
    std::string text = error.what();
    const std::string name = memory.path() + ": ";
    if (const auto at = text.find(name); at != text.npos) text.erase(at, name.size());
    return text;
  }
  return "";
}

}  // namespace fpf::evidence
