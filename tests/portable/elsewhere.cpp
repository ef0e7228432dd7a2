// The portable execution on a CPU of another kind: digests of whole runs by each of its instruction sets, as
// fixtures/portable_digests.json has them. A program of its own, for compilers and emulators of that CPU (elsewhere.cmake).
#include <fmt/format.h>

#include <fpf/attention/flash.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/experiment/host_repetition.hpp>
#include <fpf/quant/schemes.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

int main(int argc, char** argv) try {
  using namespace fpf;
  if (argc != 3) return 2;
  const std::string fixtures = argv[1];
  const auto file = nlohmann::json::parse(std::ifstream(fixtures + "/portable_digests.json"));
  int runs = 0, different = 0;
  for (const auto& entry : file.at("runs")) {
    std::string model = entry.at("model");
    if (model.find("-tiny") == std::string::npos && model.find("/parity/") == std::string::npos) continue;
    if (const auto at = model.find("{fixtures}"); at != std::string::npos) model.replace(at, 10, fixtures);
    const auto checkpoint = model::Checkpoint::open(model);
    RunSettings settings;
    settings.decode_steps = entry.at("decode_steps");
    settings.dtype = parse_dtype(entry.at("dtype").get<std::string>());
    for (std::int64_t i = 0; i < checkpoint.config().num_layers; ++i) settings.layers.push_back(i);
    const auto prompt = entry.at("prompt").get<std::vector<std::int32_t>>();
    for (const portable::InstructionSet set : portable::instruction_sets) {
      if (!portable::has(set) || (std::string(argv[2]) != "all" && portable::name_of(set) != argv[2])) continue;
      portable::instruction_set() = set;
      evidence::Digests found;
      quant::select(checkpoint.config().quantization, [&]<class Quant>() {
        const auto decoder = engine::make_decoder<Quant, attention::Flash, execution::Portable>(
            checkpoint, parallel::Rank::alone(checkpoint.config()), device::scalar_type(settings.dtype), at::kCPU);
        found = evidence::digests_of(run_on_host(*decoder, settings, {prompt}, {}, [] {}).signals);
      });
      const bool same = found == evidence::digests_from(entry.at("digests"));
      ++runs;
      different += same ? 0 : 1;
      fmt::print("{} {} {}\n", same ? "equal" : "DIFFERENT", portable::name_of(set), entry.at("model").get<std::string>());
    }
  }
  fmt::print("{} of {} runs differ\n", different, runs);
  return runs > 0 && different == 0 ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
