// The portable execution on a CPU of another kind: every loop beside the plain one, then whole runs whose digests
// fixtures/portable_digests.json has. A program of its own, for compilers and emulators of that CPU (elsewhere.cmake).
//
//   elsewhere <fixtures> <instruction set that the CPU must choose> <part of models' names>...
#include <fmt/format.h>

#include <fpf/attention/flash.hpp>
#include <fpf/engine/portable_cpu.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/experiment/host_repetition.hpp>
#include <fpf/quant/schemes.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "loop_checks.hpp"

using namespace fpf;

namespace {

evidence::Digests digests_of_run(const nlohmann::json& entry, const std::string& fixtures) {
  std::string model = entry.at("model");
  if (const auto at = model.find("{fixtures}"); at != std::string::npos) model.replace(at, 10, fixtures);
  const auto checkpoint = model::Checkpoint::open(model);
  RunSettings settings;
  settings.decode_steps = entry.at("decode_steps");
  settings.dtype = parse_dtype(entry.at("dtype").get<std::string>());
  for (std::int64_t i = 0; i < checkpoint.config().num_layers; ++i) settings.layers.push_back(i);
  const auto prompt = entry.at("prompt").get<std::vector<std::int32_t>>();
  evidence::Digests out;
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const c10::InferenceMode guard;
    engine::PortableCpuDecoder decoder(
        {quant::scheme<Quant>(), attention::kernel<attention::Flash>(), execution::policy<execution::Portable>()},
        checkpoint, parallel::Rank::alone(checkpoint.config()), device::scalar_type(settings.dtype));
    out = evidence::digests_of(run_on_host(decoder, settings, {prompt}, {}, [] {}).signals);
  });
  return out;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) fail("expected fixtures, an instruction set and models");
  const std::string fixtures = argv[1];
  const portable::InstructionSet set = portable::instruction_set();
  if (portable::name_of(set) != argv[2])
    fail("this CPU is expected to choose {} and chooses {}", argv[2], portable::name_of(set));
  int different = 0;
  for (const std::string& difference : loop_checks::differences(portable::loops(), portable::integer_loops())) {
    fmt::print("DIFFERENT {}\n", difference);
    ++different;
  }
  const auto file = nlohmann::json::parse(std::ifstream(fixtures + "/portable_digests.json"));
  for (const char* const* part = argv + 3; part != argv + argc; ++part) {
    int runs = 0;
    for (const auto& entry : file.at("runs")) {
      const auto model = entry.at("model").get<std::string>();
      if (model.find(*part) == std::string::npos) continue;
      const bool same = digests_of_run(entry, fixtures) == evidence::digests_from(entry.at("digests"));
      fmt::print("{} {}\n", same ? "equal" : "DIFFERENT", model);
      different += same ? 0 : 1;
      ++runs;
    }
    if (runs == 0) fail("no model with {} in its name", *part);
  }
  return different == 0 ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
