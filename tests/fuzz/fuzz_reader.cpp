// libFuzzer target: any bytes, read as an experiment and as a published measurement, give a result or an
// fpf::Error. Built with clang and its sanitizers where clang is found; run for half a minute by CTest,
// longer by hand:
//   fuzz_reader -max_total_time=600 corpus tests/fuzz/seeds/reader
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <fpf/compare/analyse.hpp>
#include <fpf/compare/output/result_json.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/plan/published.hpp>

using namespace fpf;

namespace {

/// The bytes as a file that exists in memory alone.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { ::close(fd_); }
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

template <class Call>
void allow_errors(Call call) {
  try {
    call();
  } catch (const Error&) {
  }
}

void analyse_experiment(const compare::JoinedExperiment& experiment) {
  compare::AnalysisOptions options;
  options.signals = compare::compared_signals();
  options.all_layers = true;
  options.threads = 1;
  allow_errors([&] {
    const std::string text = to_json(compare::analyse(experiment, options)).dump();
    if (!nlohmann::json::accept(text)) std::abort();  // NaN or infinity would show as null at worst
  });
  for (const evidence::StoredSignal signal : options.signals)
    allow_errors([&] { compare::plan::analyse(experiment, signal).dump(); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const MemoryFile file(data, size);
  allow_errors([&] {
    std::vector<evidence::ExperimentFile> files;
    files.push_back(evidence::open_experiment(file.path()));
    analyse_experiment(compare::join(std::move(files)));
  });
  allow_errors([&] { compare::to_json(compare::published::analyse({compare::published::open(file.path())})).dump(); });
  return 0;
}
