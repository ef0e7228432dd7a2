// The portable execution on a GPU: whole runs against fixtures/portable_digests.json (alone and in batches), and at
// Qwen3-30B-A3B's shape in AWQ its prefill and decode beside the compiled execution's, in one process and in float32:
// models of 16 bits have no kernels yet, and their runs are named as refused.
//
//   benchmark_portable FIXTURES MODELS [PROMPT_TOKENS [digests|times]]
//
// Exit: 0; 3 where a digest differs, a run is refused that the file says cards gave, or none was there to compare.
#include <fmt/core.h>

#include <fpf/execution/compiled.hpp>
#include <fpf/quant/awq.hpp>

#include "../../tests/portable/portable_cases.hpp"

namespace {

using namespace fpf;

/// The case on the CPU of this machine, to say where a card's run differs first.
std::string first_difference(const portable_cases::Case& one, const evidence::Signals& found) {
  const auto place = evidence::first_difference(one.run("cpu"), found);
  return place ? evidence::to_string(*place) : "nowhere: this CPU has the card's bits";
}

bool check_digests(const std::string& fixtures, const std::string& models) {
  const auto file = nlohmann::json::parse(std::ifstream(fixtures + "/portable_digests.json"));
  bool all = true;
  int equal = 0;
  for (const auto& entry : file.at("runs")) {
    const portable_cases::Case one(entry, fixtures, models);
    if (!one.is_here()) {
      fmt::print("absent      {}\n", one.name);
      continue;
    }
    for (const int batch : {1, 2, 4, 12}) {
      try {
        const evidence::Signals found = one.run("cuda", batch);
        const evidence::Digests digests = evidence::digests_of(found);
        const bool same = digests == one.digests;
        all = all && same;
        equal += same ? 1 : 0;
        fmt::print("{} {} batch {}: {}{}\n", same ? "equal      " : "DIFFERENT  ", one.name, batch,
                   digests.combined().substr(0, 16), same ? "" : ", first " + first_difference(one, found));
        if (!same) break;
      } catch (const Error& error) {
        fmt::print("refused     {}: {}\n", one.name, error.what());
        all = all && (entry.contains("cards") ? entry : file).at("cards").empty();
        break;
      }
      std::fflush(stdout);
    }
  }
  return all && equal > 0;
}

template <class Execution>
void time_it(const model::Checkpoint& checkpoint, const RunSettings& settings,
             const std::vector<std::int32_t>& prompt) {
  Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive, Execution> setup(checkpoint, settings);
  for (int repetition = 0; repetition < 4; ++repetition) {  // the first compiles kernels
    const Repetition r = setup.run({prompt});
    fmt::print("{:<9} {} tokens: prefill {:.3f} s, decode {:.3f} ms a step, {} (peak {:.1f} GB)\n", Execution::name,
               prompt.size(), r.timing.prefill, r.timing.decode * 1e3 / static_cast<double>(settings.decode_steps),
               evidence::digests_of(r.signals).combined().substr(0, 16),
               static_cast<double>(setup.peak_device_memory()) / 1e9);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: benchmark_portable FIXTURES MODELS [PROMPT_TOKENS [digests|times]]\n");
    return 2;
  }
  const std::string only = argc > 4 ? argv[4] : "";
  device::use_expandable_segments();
  bool equal = true;
  try {
    if (only != "times") equal = check_digests(argv[1], argv[2]);
    if (only != "digests") {
      const auto checkpoint = model::Checkpoint::open("synthetic:qwen3-30b-a3b?seed=1&quant=awq");
      RunSettings settings;
      settings.layers.resize(static_cast<std::size_t>(checkpoint.config().num_layers));
      std::iota(settings.layers.begin(), settings.layers.end(), 0);
      settings.dtype = DType::float32;
      settings.device = "cuda";
      std::vector<std::int32_t> prompt{7};
      while (static_cast<int>(prompt.size()) < (argc > 3 ? std::atoi(argv[3]) : 6144))
        prompt.push_back((prompt.back() * 1103 + 12345) % 100000);
      time_it<execution::Compiled>(checkpoint, settings, prompt);
      time_it<execution::Portable>(checkpoint, settings, prompt);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "benchmark_portable: {}\n", error.what());
    return 1;
  }
  return equal ? 0 : 3;
}
