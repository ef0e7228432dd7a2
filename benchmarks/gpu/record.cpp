// What a change must not move: digests and times of a list of runs that crosses executions, formats, rows, attention
// and ranks, on one device and in one process.
//
//   record OUT.json [--device cuda] [--only TEXT] [--check EARLIER.json]
//
// A case is named "<model> <format> <execution> <attention> <ranks> rows <n>", with "float32 " before rows where it is
// not of bfloat16. On the CPU the list is without the 30B and 7B shapes; portable models of 16 bits and portable ranks
// are there alone, since cards refuse them; a card's runs are longer. Only portable cases have the same digests on
// every CPU, so record_cpu.json holds those; of the others CTest's test "record" holds that two repetitions are equal,
// and whoever changes them checks against a record that the same machine wrote before.
// Exit: 0, or 3 where repetitions of a case or, with --check, its digest and the earlier one differ.
#include <fmt/core.h>

#include <algorithm>
#include <fpf/core/program.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/registry.hpp>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "compiled.hpp"

namespace {

using namespace fpf;

/// Runs of one loaded set-up.
struct Group {
  std::string model, format, execution, attention, ranks;
  std::vector<int> rows;
  DType dtype = DType::bfloat16;

  std::string name(int batch) const {
    return fmt::format("{} {} {} {} {} {}rows {}", model, format, execution, attention, ranks,
                       dtype == DType::float32 ? "float32 " : "", batch);
  }
  bool large() const { return model == "30b" || model == "7b"; }
};

/// With portable groups in float32, too, whose bits every device gives; on a card without those that it refuses.
std::vector<Group> with_float32(const std::vector<Group>& groups, bool on_gpu) {
  std::vector<Group> out;
  for (const Group& one : groups) {
    const bool portable = one.execution == "portable";
    if (!portable || !on_gpu) out.push_back(one);
    if (!portable || (on_gpu && one.ranks != "single")) continue;
    out.push_back(one);
    out.back().dtype = DType::float32;
  }
  return out;
}

std::vector<Group> groups(bool on_gpu) {
  // steps that are not portable take up to eight rows
  const std::vector<int> one{1}, some{1, 4}, up_to_eight{1, 2, 4, 8}, any{1, 2, 4, 12};
  std::vector<Group> out;
  for (const std::string format : {"none", "awq", "gptq", "nf4"})
    for (const std::string execution : {"eager", "compiled", "portable"})
      out.push_back({"tiny", format, execution, "flash", "single",
                     format != "awq"           ? some
                     : execution == "portable" ? any
                                               : up_to_eight});
  for (const std::string execution : {"eager", "compiled"})
    out.push_back({"tiny", "awq", execution, "written-out", "single", some});
  for (const std::string ranks : {"tp2", "ep2"})
    for (const std::string execution : {"eager", "compiled", "portable"})
      out.push_back({"tiny", "awq", execution, "flash", ranks, some});
  for (const std::string execution : {"eager", "compiled", "portable"})
    out.push_back({"smollm2", "none", execution, "flash", "single", on_gpu ? some : one});
  out.push_back({"smollm2", "nf4", "compiled", "written-out", "single", on_gpu ? some : one});
  for (const std::string execution : {"eager", "compiled", "portable"})
    for (const std::string format : {"none", "awq"})
      out.push_back({"qwen2", format, execution, "flash", "single", some});
  out.push_back({"qwen2", "awq", "compiled", "flash", "tp2", some});
  out.push_back({"qwen2", "awq", "portable", "flash", "tp2", one});
  if (!on_gpu) return with_float32(out, on_gpu);
  out.push_back({"30b", "awq", "eager", "flash", "single", one});
  out.push_back({"30b", "awq", "compiled", "flash", "single", up_to_eight});
  out.push_back({"30b", "awq", "portable", "flash", "single", any});
  out.push_back({"30b", "awq", "compiled", "written-out", "single", one});
  out.push_back({"30b", "awq", "compiled", "flash", "tp2", some});
  out.push_back({"30b", "awq", "compiled", "flash", "ep2", some});
  out.push_back({"30b", "gptq", "compiled", "flash", "single", some});
  out.push_back({"30b", "nf4", "compiled", "flash", "single", some});
  out.push_back({"30b", "none", "compiled", "flash", "single", one});
  for (const std::string execution : {"eager", "compiled", "portable"})  // 18944 columns: a row a step but for portable
    out.push_back({"7b", "awq", execution, "flash", "single", execution == "portable" ? some : one});
  return with_float32(out, on_gpu);
}

std::string description_of(const Group& group, const std::string& fixtures) {
  const std::string shape = group.model == "tiny"      ? "qwen3-moe-tiny"
                            : group.model == "qwen2"   ? "qwen2-tiny"
                            : group.model == "smollm2" ? fixtures + "/smollm2_config.json"
                            : group.model == "7b"      ? "qwen2.5-7b"
                                                       : "qwen3-30b-a3b";
  // Half of the tiny experts' 128 columns, a rank's share, must hold whole groups.
  const std::string size = !group.large() && group.format != "nf4" ? "&group_size=64" : "";
  return fmt::format("synthetic:{}?seed=1&quant={}{}", shape, group.format, group.format == "none" ? "" : size);
}

std::unique_ptr<Session> load(const Group& group, const model::Checkpoint& checkpoint, RunSettings settings) {
  settings.ranks = {.size = group.ranks == "single" ? 1 : 2, .emulate = group.ranks != "single"};
  Setup setup = reference_setup(group.execution);
  if (group.attention == "written-out") setup = setup.with(attention::kernel<attention::Eager>());
  if (group.ranks == "tp2") setup = setup.with(parallel::scheme<parallel::Tensor>());
  if (group.ranks == "ep2") setup = setup.with(parallel::scheme<parallel::Expert>());
  return std::make_unique<Session>(checkpoint, settings, setup);
}

/// `rows` prompts that share no prefix.
std::vector<std::vector<std::int32_t>> prompts_of(int rows, std::size_t tokens) {
  std::vector<std::vector<std::int32_t>> out;
  for (int row = 0; row < rows; ++row) {
    std::vector<std::int32_t>& ids = out.emplace_back(1, 7 + 31 * row);
    while (ids.size() < tokens) ids.push_back((ids.back() * 1103 + 12345) % 4000);
  }
  return out;
}

/// Times are the shortest of all repetitions but the first, which compiles kernels.
Json run(Session& setup, const Group& group, int rows, const RunSettings& settings, bool on_gpu) {
  const auto prompts = prompts_of(rows, group.large() ? 256 : on_gpu ? 40 : 24);
  double prefill = std::numeric_limits<double>::max(), decode = prefill;
  std::string digest;
  bool equal = true;
  for (int repetition = 0; repetition < (on_gpu ? 4 : 2); ++repetition) {
    const Repetition found = setup.run(prompts);
    const std::string own = evidence::digests_of(found.signals).combined();
    equal = equal && (repetition == 0 || own == digest);
    digest = own;
    if (repetition == 0) continue;
    prefill = std::min(prefill, found.timing.prefill);
    decode = std::min(decode, found.timing.decode);
  }
  return {{"case", group.name(rows)},
          {"signals_sha256", digest},
          {"bit_exact", equal},
          {"prefill_s", prefill},
          {"step_ms", decode * 1e3 / static_cast<double>(settings.decode_steps)}};
}

RunSettings settings_of(const Group& group, const model::ModelConfig& config, const std::string& device) {
  RunSettings out;
  out.layers.resize(static_cast<std::size_t>(config.num_layers));
  std::iota(out.layers.begin(), out.layers.end(), 0);
  if (group.large()) out.layers = {config.num_layers - 1};
  out.decode_steps = group.large() ? 24 : device == "cpu" ? 3 : 8;
  out.dtype = group.dtype;
  out.device = device;
  return out;
}

/// What a case gave: its digest, or why it was refused.
std::string outcome(const Json& one) {
  return one.contains("refused") ? "refused: " + one["refused"].get<std::string>()
                                 : one.at("signals_sha256").get<std::string>();
}

void print(const Json& one) {
  const std::string name = one.at("case");
  if (one.contains("refused"))
    fmt::print("{:<46} {}\n", name, outcome(one));
  else
    fmt::print("{:<46} {} prefill {:8.4f} s, step {:8.3f} ms{}\n", name, outcome(one).substr(0, 16),
               one["prefill_s"].get<double>(), one["step_ms"].get<double>(),
               one["bit_exact"] == true ? "" : ", REPETITIONS DIFFER");
  std::fflush(stdout);
}

/// The cases whose names contain `only`, printed as they end; of a refused one the reason takes the digest's place.
Json record(const std::string& device, const std::string& only) {
  const bool on_gpu = device != "cpu";
  Json cases = Json::array();
  for (const Group& group : groups(on_gpu)) {
    std::vector<int> rows;
    std::ranges::copy_if(group.rows, std::back_inserter(rows),
                         [&](int batch) { return group.name(batch).find(only) != std::string::npos; });
    if (rows.empty()) continue;
    const auto checkpoint = model::Checkpoint::open(description_of(group, FPF_FIXTURES));
    const RunSettings settings = settings_of(group, checkpoint.config(), device);
    std::unique_ptr<Session> setup;
    for (const int batch : rows) {
      try {
        if (!setup) setup = load(group, checkpoint, settings);
        print(cases.emplace_back(run(*setup, group, batch, settings, on_gpu)));
      } catch (const std::exception& error) {
        print(cases.emplace_back(Json{{"case", group.name(batch)}, {"refused", error.what()}}));
      }
    }
    setup.reset();
    device::release_cached_memory(at::Device(device));
  }
  return {{"device", device_name(device)}, {"revision", source_revision()}, {"cases", cases}};
}

/// Names every case whose digest is not the earlier record's; prints the ratios of times. Cases that only one of the
/// two has are named, and those that only the earlier one has are differences.
bool check(const Json& now, const Json& earlier, const std::string& only) {
  bool same = true;
  const auto find = [](const Json& in, const std::string& name) {
    return std::ranges::find_if(in.at("cases"), [&](const Json& one) { return one.at("case") == name; });
  };
  for (const Json& before : earlier.at("cases")) {
    const std::string name = before.at("case");
    if (name.find(only) == std::string::npos) continue;
    const auto after = find(now, name);
    const bool equal = after != now.at("cases").end() && outcome(*after) == outcome(before);
    same = same && equal;
    if (!equal) fmt::print("DIFFERENT {}{}\n", name, after == now.at("cases").end() ? ": did not run" : "");
    if (!equal || !before.contains("step_ms")) continue;
    const auto ratio = [&](const char* key) { return after->at(key).get<double>() / before.at(key).get<double>(); };
    fmt::print("equal     {:<44} prefill x {:.3f}, step x {:.3f}\n", name, ratio("prefill_s"), ratio("step_ms"));
  }
  for (const Json& after : now.at("cases"))
    if (find(earlier, after.at("case")) == earlier.at("cases").end())
      fmt::print("new       {}\n", after.at("case").get<std::string>());
  return same;
}

int run_program(const std::vector<std::string>& args) {
  std::string out, device = default_device(), only, earlier;
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::string* const value = args[i] == "--device"  ? &device
                               : args[i] == "--only"  ? &only
                               : args[i] == "--check" ? &earlier
                                                      : nullptr;
    if (value != nullptr && i + 1 < args.size())
      *value = args[++i];
    else if (value == nullptr && out.empty() && !args[i].starts_with("--"))
      out = args[i];
    else
      fail("{}: usage: record OUT.json [--device DEVICE] [--only TEXT] [--check EARLIER.json]", args[i]);
  }
  if (out.empty()) fail("usage: record OUT.json [--device DEVICE] [--only TEXT] [--check EARLIER.json]");
  require_device(device);
  if (device == "cpu") at::set_num_threads(1);
  device::use_expandable_segments();
  const Json found = record(device, only);
  std::ofstream(out) << found.dump(1) << "\n";
  bool good = std::ranges::all_of(found.at("cases"), [](const Json& one) { return one.value("bit_exact", true); });
  if (!earlier.empty()) good = check(found, Json::parse(std::ifstream(earlier)), only) && good;
  return good ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "record: {}\n", error.what());
    return 2;
  }
}
