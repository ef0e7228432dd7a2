// gpu_kernels: every decode kernel checked and timed on the GPU at hand, then a whole synthetic decode step.
// Needs the NVIDIA driver and NVRTC (a CUDA toolkit or its wheel); no libtorch.
#include <ctime>
#include <fpf/core/atomic_file.hpp>
#include <iostream>
#include <span>

#include "attention_checks.hpp"
#include "model.hpp"
#include "timeline.hpp"

using namespace bench;

namespace {

struct Arguments {
  std::string toolkit, cache, json, formats = "awq,gptq,nf4,dense";
  bool check = true, time = true, small = false;
  int repeats = 100, layers = 48;
};

Arguments parse(std::span<char*> words) {
  Arguments a;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string word = words[i];
    const auto value = [&]() -> std::string {
      if (++i == words.size()) fail("{} needs a value", word);
      return words[i];
    };
    if (word == "--help") {
      fmt::print(
          "gpu_kernels: checks and times fpf's decode kernels.\n"
          "  --toolkit DIR   where NVRTC lies (default: CUDA_HOME, the system)\n"
          "  --cache DIR     where compiled kernels are kept\n"
          "  --json FILE     the figures\n"
          "  --no-check, --no-time\n"
          "  --small         small shapes only, for compute-sanitizer; implies --no-time\n"
          "  --repeats N     launches that must agree bit for bit (100)\n"
          "  --layers N      of the timed model (48)\n"
          "  --formats LIST  of the timed model (awq,gptq,nf4,dense)\n"
          "Example: gpu_kernels --toolkit /usr/local/cuda --json H100.json\n");
      std::exit(0);
    } else if (word == "--toolkit") {
      a.toolkit = value();
    } else if (word == "--cache") {
      a.cache = value();
    } else if (word == "--json") {
      a.json = value();
    } else if (word == "--no-check") {
      a.check = false;
    } else if (word == "--no-time") {
      a.time = false;
    } else if (word == "--small") {
      a.small = true;
      a.time = false;
    } else if (word == "--formats") {
      a.formats = value();
    } else if (word == "--repeats") {
      a.repeats = std::stoi(value());
    } else if (word == "--layers") {
      a.layers = std::stoi(value());
    } else {
      fail("unknown option '{}'; --help lists them", word);
    }
  }
  return a;
}

/// Bytes read and written a second by a device-to-device copy of 2 GB, in GB/s.
double copy_ceiling(cuda::Stream stream) {
  const std::size_t bytes = std::size_t{2} << 30;
  const Buffer from(bytes), to(bytes);
  const Timing t = time_on_device(
      stream, [&] { cuda::driver().memcpy_device_to_device_async(to.address(), from.address(), bytes, stream); }, 10);
  return 2.0 * static_cast<double>(bytes) / t.median / 1e3;
}

nlohmann::ordered_json row(const std::string& name, const Timing& t, double count, double bytes, double ceiling) {
  const double us = t.median / count, each = bytes / count, rate = each / us / 1e3;
  fmt::print("    {:<24}{:>5.0f} x{:>9.2f} us{:>10.3f} MB{:>7.0f} GB/s{:>6.1f} %\n", name, count, us, each / 1e6, rate,
             100 * rate / ceiling);
  return {{"name", name},
          {"launches", count},
          {"us", us},
          {"bytes", each},
          {"GB_per_s", rate},
          {"share_of_copy", rate / ceiling},
          {"spread_us", {t.least / count, t.most / count}}};
}

/// One way to carry out a step over a model: each kernel by itself (all its launches of a step in one graph),
/// what it costs where it stands, the whole step, and the same signals whenever and however it is run.
nlohmann::ordered_json time_step(Library& library, cuda::Stream stream, const Model& model, const StepConfig& config,
                                 const std::string& name, double ceiling, bool kernels) {
  nlohmann::ordered_json out{{"name", name}};
  fmt::print("  {}\n", name);
  StepConfig tapping = config;
  for (int l = 0; l < model.layers(); ++l) tapping.tapped.push_back(l);
  Step tapped(library, stream, model, tapping), step(library, stream, model, config);
  const CapturedGraph captured(stream, [&] { step.run(); }), with_taps(stream, [&] { tapped.run(); });
  const auto measure = [&](const CapturedGraph& graph) {
    step.begin();
    tapped.begin();
    return time_on_device(
        stream, [&] { graph.launch(); }, 30);
  };

  // Ten tokens, three times, captured and launched one by one.
  const auto sequence = [&](const std::function<void()>& run) {
    tapped.begin();
    std::vector<std::vector<std::byte>> all;
    for (int i = 0; i < 10; ++i) {
      run();
      all.push_back(tapped.signals());
    }
    return all;
  };
  const auto first = sequence([&] { with_taps.launch(); });
  const bool equal = sequence([&] { with_taps.launch(); }) == first && sequence([&] { tapped.run(); }) == first &&
                     first[0] != first[9];
  out["bit_exact"] = equal;

  tapped.begin();
  with_taps.launch();
  const std::vector<double> experts = tapped.experts();
  out["experts_a_layer"] = std::accumulate(experts.begin(), experts.end(), 0.0) / model.layers();
  const auto bytes_of = [&](const Stage& s) {
    return s.plan.bytes(config.rows, model.context(), s.layer < 0 ? 0 : experts[static_cast<std::size_t>(s.layer)]);
  };
  double all = 0;
  std::vector<std::string> names;
  std::map<std::string, std::pair<double, double>> totals;  // launches, bytes
  for (const Stage& stage : step.stages()) {
    auto& [count, bytes] = totals[std::string(stage.name)];
    if (count++ == 0) names.emplace_back(stage.name);
    bytes += bytes_of(stage);
    all += bytes_of(stage);
  }
  const Timing whole = measure(captured);
  out["step"] = row("whole step", whole, 1, all, ceiling);
  out["step_with_all_signals"] = row("with all layers' signals", measure(with_taps), 1, all, ceiling);
  if (!config.fused) {
    step.begin();
    out["step_without_graph"] = row("launched one by one",
                                    time_on_device(
                                        stream, [&] { step.run(); }, 30),
                                    1, all, ceiling);
  }
  if (!equal) fmt::print("    DIFFERENT: ten tokens, three times\n");
  if (!kernels) return out;
  for (const auto& kernel : names) {
    step.begin();
    step.run();  // what the kernel alone reads is a step's: no other choice of experts, no grown residual
    const auto [count, bytes] = totals[kernel];
    const CapturedGraph alone(stream, [&] { step.run([&](const Stage& s) { return s.name == kernel; }); });
    auto figures = row(kernel, measure(alone), count, bytes, ceiling);
    const CapturedGraph others(stream, [&] { step.run([&](const Stage& s) { return s.name != kernel; }); });
    // Without a kernel, several rows would choose other experts, as many as chance has it.
    if (config.rows == 1) figures["us_in_place"] = (whole.median - measure(others).median) / count;
    out["kernels"].push_back(std::move(figures));
  }
  return out;
}

WeightFormat format_of(std::string_view name) {
  if (name == "awq") return int4_format(128);
  if (name == "gptq") return int4_format(128, DType::float16, true);
  if (name == "nf4") return nf4_format();
  if (name == "dense") return dense_format();
  fail("unknown format '{}': expected awq, gptq, nf4 or dense", name);
}

nlohmann::ordered_json time_format(Library& library, cuda::Stream stream, const std::string& name, double ceiling,
                                   const Arguments& arguments, const std::shared_ptr<const Compiler>& compiler,
                                   const std::vector<SourceText>& sources) {
  nlohmann::ordered_json out;
  fmt::print("{}\n", name);
  const Model model(library, stream, format_of(name), qwen3_30b(8, true), arguments.layers, 6144);
  for (const int rows : {1, 2, 4, 8})
    for (const bool fused : {true, false})
      out.push_back(time_step(library, stream, model, qwen3_30b(rows, fused),
                              fmt::format("{} bfloat16, {}, batch {}", name, fused ? "compiled" : "eager", rows),
                              ceiling, true));
  if (name != "awq") return out;
  const auto variant = [&](const std::string& what, bool fused, const auto& change) {
    StepConfig changed = qwen3_30b(1, fused);
    change(changed);
    out.push_back(time_step(library, stream, model, changed, "awq bfloat16, batch 1: " + what, ceiling, false));
  };
  for (const bool fused : {true, false}) {
    const char* how = fused ? "compiled" : "eager";
    variant(fmt::format("{}, products by matrix units", how), fused,
            [](StepConfig& c) { c.products = Arithmetic::tensor_cores; });
    variant(fmt::format("{}, 66 splits of 6 warps", how), fused,
            [](StepConfig& c) { c.attention.splits = 66, c.attention.warps = 6; });
  }
  out.back()["timeline"] =
      print_timeline(compiler, arguments.cache.empty() ? CubinCache() : CubinCache(arguments.cache), sources, stream,
                     model, qwen3_30b(1, true));
  return out;
}

/// Seconds since 1970 as a date.
std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

int run(const Arguments& arguments) {
  const std::vector<SourceText> sources(embedded_sources.begin(), embedded_sources.end());
  const auto compiler = std::make_shared<const Compiler>(find_toolkit(arguments.toolkit));
  Library library(0, compiler, arguments.cache.empty() ? CubinCache() : CubinCache(arguments.cache), sources);
  const cuda::Stream stream = make_stream();
  const cuda::DeviceInfo& device = library.device();
  nlohmann::ordered_json out{
      {"date", today()},
      {"device", device.name},
      {"driver", fmt::format("{}.{}", device.driver_version / 1000, device.driver_version % 1000 / 10)},
      {"nvrtc", compiler->version_name()},
      {"compute_capability", device.compute_capability},
      {"multiprocessors", device.multiprocessors}};
  fmt::print("{}, {} multiprocessors, driver for CUDA {}, NVRTC {}\n", device.name, device.multiprocessors,
             out["driver"].get<std::string>(), compiler->version_name());
  int failures = 0;
  if (arguments.check) {
    const std::uint64_t seed = std::random_device{}();
    fmt::print("seed {}\n", seed);
    Checker checker(library, stream, seed, arguments.repeats);
    check_all(checker, arguments.small);
    failures = checker.failures;
    fmt::print("{} checks, {} failed\n", checker.results.size(), failures);
    out["seed"] = seed;
    out["checks"] = checker.results;
  }
  if (arguments.time) {
    const double ceiling = copy_ceiling(stream);
    fmt::print("device-to-device copy: {:.0f} GB/s\n", ceiling);
    out["copy_GB_per_s"] = ceiling;
    for (std::size_t at = 0; at < arguments.formats.size();) {
      const std::size_t end = std::min(arguments.formats.find(',', at), arguments.formats.size());
      for (auto& step : time_format(library, stream, arguments.formats.substr(at, end - at), ceiling, arguments,
                                    compiler, sources)) {
        if (!step["bit_exact"].get<bool>()) ++failures;
        out["steps"].push_back(std::move(step));
      }
      at = end + 1;
    }
  }
  for (const auto& record : library.records())
    out["kernels"].push_back({{"name", record.name},
                              {"source", record.source},
                              {"source_sha256", record.source_sha256},
                              {"cubin_sha256", record.cubin_sha256},
                              {"registers", record.resources.registers},
                              {"instructions", record.resources.instructions}});
  if (!arguments.json.empty()) AtomicFile(arguments.json).append(out.dump(1) + "\n").commit();
  return failures == 0 ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    return run(parse({argv, static_cast<std::size_t>(argc)}));
  } catch (const Error& error) {
    std::cerr << "gpu_kernels: " << error.what() << '\n';
    return static_cast<int>(ExitCode::user_error);
  } catch (const std::exception& error) {
    std::cerr << "gpu_kernels: " << error.what() << '\n';
    return static_cast<int>(ExitCode::bug);
  }
}
