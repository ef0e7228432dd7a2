// gpu_kernels: every decode kernel checked and timed on the GPU at hand, then a whole synthetic decode step.
// Needs the NVIDIA driver and NVRTC (a CUDA toolkit or its wheel); no libtorch.
#include "attention_checks.hpp"
#include "decode_step.hpp"
#include "timeline.hpp"

#include <fpf/core/atomic_file.hpp>

#include <chrono>
#include <iostream>
#include <span>

using namespace bench;

namespace {

struct Arguments {
  std::string toolkit, cache, json;
  bool check = true, time = true, small = false, brief = false;
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
          "  --layers N      of the synthetic model (48)\n"
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
    } else if (word == "--brief") {
      a.brief = true;
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
      stream,
      [&] { cuda::driver().memcpy_device_to_device_async(to.address(), from.address(), bytes, stream); }, 10);
  return 2.0 * static_cast<double>(bytes) / t.median / 1e3;
}

nlohmann::ordered_json row(const std::string& name, double microseconds, double bytes, double ceiling,
                           const Timing& spread) {
  const double rate = bytes / microseconds / 1e3;
  fmt::print("  {:<34}{:>9.2f} us{:>10.2f} MB{:>9.0f} GB/s{:>7.1f} %\n", name, microseconds, bytes / 1e6,
             rate, 100 * rate / ceiling);
  return {{"name", name},
          {"us", microseconds},
          {"bytes", bytes},
          {"GB_per_s", rate},
          {"share_of_copy", rate / ceiling},
          {"spread_us", {spread.least, spread.most}}};
}

/// Times a step's kernels one by one (each over all layers in a graph) and together.
nlohmann::ordered_json time_step(Library& library, cuda::Stream stream, const SyntheticModel& model,
                                 const StepOptions& options, const std::string& name, double ceiling,
                                 bool stages) {
  DecodeStep step(library, stream, model, options);
  nlohmann::ordered_json out{{"name", name}, {"kernels", nlohmann::ordered_json::array()}};
  fmt::print("{}\n", name);
  step.run(false);  // so that every buffer holds numbers
  synchronise(stream);
  for (const auto& stage : stages ? step.stages(true) : std::vector<DecodeStep::Stage>{}) {
    const CapturedGraph graph(stream, [&] {
      for (int l = 0; l < model.layers; ++l) stage.launch(l, options.fused);
    });
    const Timing t = time_on_device(
        stream, [&] { graph.launch(); }, 20);
    out["kernels"].push_back(row(stage.name, t.median / model.layers, stage.bytes, ceiling, t));
  }
  for (const auto& stage : stages ? step.ends() : std::vector<DecodeStep::Stage>{}) {
    const CapturedGraph graph(stream, [&] { stage.launch(0, false); });
    const Timing t = time_on_device(
        stream, [&] { graph.launch(); }, 20);
    out["kernels"].push_back(row(stage.name, t.median, stage.bytes, ceiling, t));
  }
  const auto whole = [&](const char* how, const std::function<void()>& body) {
    const Timing t = time_on_device(stream, body, 30);
    out[how] = row(how, t.median, step.bytes(), ceiling, t);
  };
  const CapturedGraph plain(stream, [&] { step.run(false); }), overlapped(stream, [&] { step.run(true); });
  if (options.fused) {
    whole("step, graph, overlapped", [&] { overlapped.launch(); });
    whole("step, graph", [&] { plain.launch(); });
  } else {
    whole("step, graph", [&] { plain.launch(); });
    whole("step, launched one by one", [&] { step.run(false); });
  }
  if (options.fused && stages) {
    // What each kernel costs where it stands: the step's time less that of the step without it.
    const double all = out["step, graph, overlapped"]["us"].get<double>();
    const auto layer = step.stages(false);
    for (std::size_t i = 0; i < layer.size(); ++i) {
      const CapturedGraph graph(stream, [&] { step.run(true, static_cast<int>(i)); });
      const Timing t = time_on_device(
          stream, [&] { graph.launch(); }, 20);
      out["in_place_us"][layer[i].name] = (all - t.median) / model.layers;
      fmt::print("  in place: {:<32}{:>9.2f} us\n", layer[i].name, (all - t.median) / model.layers);
    }
  }
  // Ten tokens from the same start, twice, and by both graphs: the same bits.
  const auto sequence = [&](const CapturedGraph& graph) {
    step.reset();
    std::vector<std::vector<std::byte>> outputs;
    for (int i = 0; i < 10; ++i) {
      graph.launch();
      synchronise(stream);
      outputs.push_back(step.logits.download<std::byte>());
      const auto best = step.top_values.download<float>();
      if (!(best[0] <= 0)) fail("{}: the log-probabilities are no numbers", name);
    }
    return outputs;
  };
  const auto first = sequence(plain);
  const bool equal = sequence(plain) == first && sequence(overlapped) == first && first[0] != first[9];
  fmt::print("  ten tokens twice, plain and overlapped: {}\n", equal ? "bit for bit" : "DIFFERENT");
  out["bit_exact"] = equal;
  return out;
}

/// Products at the layer's shapes, each way: a table to choose from.
nlohmann::ordered_json time_products(Library& library, cuda::Stream stream, const SyntheticModel& model,
                                     double ceiling) {
  const Shape& s = model.shape;
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  const Buffer x = upload(std::vector<float>(8 * 4096, 0.5f), model.dtype);
  const Buffer norm = upload(std::vector<float>(4096, 1.0f), model.dtype),
               result(8 * 5120 * size_of(model.dtype));
  const auto measure = [&](const std::string& name, const Plan& plan, int n, int rows, bool overlap,
                           auto matrix) {
    const Operation operation(library, plan);
    const CapturedGraph graph(stream, [&] {
      for (int l = 0; l < model.layers; ++l)
        operation(stream,
                  GemvParams{matrix(l), x.at(), norm.at(), x.at(), result.at(), nullptr, n, rows, 1e-6f},
                  rows, overlap);
    });
    const Timing t = time_on_device(
        stream, [&] { graph.launch(); }, 20);
    out.push_back(row(name, t.median / model.layers, plan.bytes(rows), ceiling, t));
  };
  const auto layer = [&](int l) -> const SyntheticModel::Layer& {
    return model.all[static_cast<std::size_t>(l)];
  };
  for (const bool overlap : {false, true}) {
    const char* how = overlap ? ", overlapped" : "";
    for (const int rows : {1, 2, 4, 8}) {
      measure(fmt::format("qkv +norm lanes, {} row(s){}", rows, how),
              plan_gemv(model.format, model.dtype, s.qkv_size(), s.hidden, {true, false}, Arithmetic::lanes),
              s.qkv_size(), rows, overlap, [&](int l) { return layer(l).qkv.at(); });
      for (const int warps : {4, 8})
        measure(fmt::format("qkv +norm tiles/{}, {} row(s){}", warps, rows, how),
                plan_gemv(model.format, model.dtype, s.qkv_size(), s.hidden, {true, false}, Arithmetic::tiles,
                          warps),
                s.qkv_size(), rows, overlap, [&](int l) { return layer(l).qkv.at(); });
    }
    measure(fmt::format("o +add lanes{}", how),
            plan_gemv(model.format, model.dtype, s.hidden, s.q_size(), {false, true}, Arithmetic::lanes),
            s.hidden, 1, overlap, [&](int l) { return layer(l).o.at(); });
    for (const int warps : {8, 16})
      measure(
          fmt::format("o +add tiles/{}{}", warps, how),
          plan_gemv(model.format, model.dtype, s.hidden, s.q_size(), {false, true}, Arithmetic::tiles, warps),
          s.hidden, 1, overlap, [&](int l) { return layer(l).o.at(); });
    for (const Arithmetic a : {Arithmetic::lanes, Arithmetic::tiles})
      measure(fmt::format("router +norm {}{}", a == Arithmetic::lanes ? "lanes" : "tiles", how),
              plan_gemv(dense_format(), model.dtype, s.moe.experts, s.hidden, {true, false}, a),
              s.moe.experts, 1, overlap, [&](int l) { return layer(l).router.at(); });
  }
  return out;
}

int run(const Arguments& arguments) {
  std::vector<SourceText> sources(embedded_sources.begin(), embedded_sources.end());
  sources.push_back({"fill.cuh", fill_source});
  const auto compiler = std::make_shared<const Compiler>(find_toolkit(arguments.toolkit));
  Library library(0, compiler, arguments.cache.empty() ? CubinCache() : CubinCache(arguments.cache), sources);
  const cuda::Stream stream = make_stream();
  const cuda::DeviceInfo& device = library.device();
  nlohmann::ordered_json out{
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
    const int context = 6144;
    {
      const SyntheticModel model(library, stream, int4_format(128), DType::bfloat16, arguments.layers,
                                 context);
      if (!arguments.brief) out["products"] = time_products(library, stream, model, ceiling);
      StepOptions options;
      out["steps"].push_back(
          time_step(library, stream, model, options, "AWQ / GPTQ bf16, compiled", ceiling, true));
      out["timeline"] = print_timeline(0, compiler, sources, stream, model, options);
      const auto variant = [&](const std::string& name, auto change) {
        StepOptions changed;
        change(changed);
        out["steps"].push_back(time_step(library, stream, model, changed, name, ceiling, false));
      };
      variant("66 splits of 6 warps", [](StepOptions& o) { o.splits = 66, o.attention_warps = 6; });
      variant("gate and up two tiles a block", [](StepOptions& o) { o.gate_up_tiles = 2; });
      variant("gate and up one tile a block", [](StepOptions& o) { o.gate_up_tiles = 1; });
      variant("products by lanes", [](StepOptions& o) { o.products = Arithmetic::lanes; });
      variant("experts by lanes", [](StepOptions& o) { o.experts = Arithmetic::lanes; });
      options = StepOptions();
      options.fused = false;
      out["steps"].push_back(
          time_step(library, stream, model, options, "AWQ / GPTQ bf16, eager", ceiling, true));
    }
    const SyntheticModel model(library, stream, nf4_format(), DType::bfloat16, arguments.layers, context);
    out["steps"].push_back(time_step(library, stream, model, {}, "NF4 bf16, compiled", ceiling, true));
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
