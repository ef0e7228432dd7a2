// Whether a stored run's vectors are those that its digests were made of, and its tokens those that it says it was fed.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fpf/core/atomic_file.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/evidence/fed_inputs.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <string>
#include <string_view>
#include <vector>

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

/// Why a run's prompt and tokens are not those that it says; empty where they are. Of a file whose other runs may be
/// elsewhere. `fed`: the tokens.sha256 of each prompt's runs; empty where each run chooses its own.
inline std::string fed_fault(const ExperimentFile& file, const StoredRun& run, const std::vector<std::string>& fed) {
  std::string out;
  const auto add = [&](const std::string& text) {
    if (out.empty()) out = fmt::format("{}: {}", run_name(file, run), text);
  };
  for (const nlohmann::json& configuration : file.configurations) {
    if (configuration.at("config_id") != run.config_id) continue;
    FedInspector inspector(file, configuration, run, add);
    inspector.prompt();
    inspector.own_tokens();
  }
  const auto& stated = member_or_null(member_or_null(run.members, "tokens"), "sha256");
  const std::size_t prompt = prompt_index(run);
  if (!stated.is_null() && (prompt >= fed.size() || stated != fed[prompt]))
    add(fmt::format("tokens.sha256 is {:.80}, those that this run feeds have {}", stated.dump(),
                    prompt < fed.size() ? fed[prompt] : "none"));
  return out;
}

}  // namespace detail

/// Of an experiment whose text is in memory, the first run whose vectors do not fit its digests, whose prompt and
/// tokens are not those that it says (`fed`, see fed_fault()), or that cannot be read, and why; empty where there is
/// none.
inline std::string record_fault(const std::string& experiment, const std::vector<std::string>& fed) {
  const detail::MemoryFile memory(experiment);
  try {
    const ExperimentFile file = open_experiment(memory.path());
    for (const StoredRun& run : file.runs) {
      if (run.members.value("status", "complete") == "complete" && !states_digests(run))
        return run_name(file, run) + " has no digests";
      if (const auto found = digest_contradictions(file, run); !found.empty()) return found.front();
      if (const auto found = detail::fed_fault(file, run, fed); !found.empty()) return found;
    }
  } catch (const Error& error) {
    std::string text = error.what();
    const std::string name = memory.path() + ": ";
    if (const auto at = text.find(name); at != text.npos) text.erase(at, name.size());
    return text;
  } catch (const nlohmann::json::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace fpf::evidence
