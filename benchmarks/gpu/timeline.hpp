// When each kernel of a captured step begins and is released by its predecessor, by the device's own clock:
// the kernels' sources are compiled once more with two time stamps around the wait that all of them contain.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "model.hpp"

namespace bench {

/// Where the stamps go; the address is written into the source.
class Timeline {
 public:
  static constexpr std::size_t capacity = 4096;

  Timeline() : stamps_(16 + capacity * 16) { clear(); }

  void clear() {
    cuda::driver().check(cuda::driver().memset_bytes(stamps_.address(), 0, stamps_.bytes()), "cuMemsetD8");
  }

  /// The sources with stamps: block (0, 0, 0) notes the time before and after its wait.
  std::vector<SourceText> instrument(const std::vector<SourceText>& sources) {
    std::vector<SourceText> out = sources;
    for (auto& source : out) {
      if (source.name != "fpf/kernel/shared/common.cuh") continue;
      text_ = std::string(source.text);
      const std::string signature = "__device__ __forceinline__ void wait_for_previous() {";
      const std::size_t at = text_.find(signature);
      if (at == std::string::npos) fail("common.cuh has no wait_for_previous()");
      text_.replace(at, signature.size(),
                    fmt::format(R"(__device__ __forceinline__ u64 clock_now() {{
  u64 now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}}
__device__ __forceinline__ void plain_wait();
__device__ __forceinline__ void wait_for_previous() {{
  const bool notes = (threadIdx.x | threadIdx.y | blockIdx.x | blockIdx.y | blockIdx.z) == 0;
  u64* stamps = reinterpret_cast<u64*>({}ull);
  u64 slot = 0;
  if (notes) {{
    slot = atomicAdd(reinterpret_cast<unsigned long long*>(stamps), 1ull) % {};
    stamps[2 + 2 * slot] = clock_now();
  }}
  plain_wait();
  if (notes) stamps[3 + 2 * slot] = clock_now();
}}
__device__ __forceinline__ void plain_wait() {{)",
                                stamps_.address(), capacity));
      source.text = text_;
    }
    return out;
  }

  struct Stamp {
    std::uint64_t begun, released;  // ns
  };
  std::vector<Stamp> read() const {
    const auto raw = stamps_.download<std::uint64_t>();
    std::vector<Stamp> out;
    for (std::size_t i = 0; i < std::min<std::size_t>(raw[0], capacity); ++i)
      out.push_back({raw[2 + 2 * i], raw[3 + 2 * i]});
    return out;
  }

 private:
  Buffer stamps_;
  std::string text_;
};

/// Per kernel of a layer, the median time from its release to its successor's, and how long before its
/// release it had begun.
inline nlohmann::ordered_json print_timeline(std::shared_ptr<const Compiler> compiler, const CubinCache& cache,
                                             const std::vector<SourceText>& sources, cuda::Stream stream,
                                             const Model& model, const StepConfig& config) {
  Timeline timeline;
  Library library(0, compiler, cache, timeline.instrument(sources));
  const Step step(library, stream, model, config);
  const CapturedGraph graph(stream, [&] { step.run(); });
  for (int i = 0; i < 3; ++i) graph.launch();
  synchronise(stream);
  timeline.clear();
  graph.launch();
  synchronise(stream);
  const auto stamps = timeline.read();
  const auto stages = step.stages();
  if (stamps.size() != stages.size())
    fail("{} kernels left {} time stamps: every kernel should wait once", stages.size(), stamps.size());
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> period, early;
  for (std::size_t i = 0; i + 1 < stamps.size(); ++i) {
    const std::string name(stages[i].name);
    if (!period.contains(name)) names.push_back(name);
    period[name].push_back(static_cast<double>(stamps[i + 1].released - stamps[i].released) / 1e3);
    early[name].push_back(static_cast<double>(stamps[i].released - stamps[i].begun) / 1e3);
  }
  nlohmann::ordered_json out;
  const auto median = [](std::vector<double> all) {
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  };
  fmt::print("  timeline of {} kernels\n", stamps.size());
  for (const auto& name : names) {
    const double us = median(period[name]), before = median(early[name]);
    fmt::print("    {:<18} released for {:>6.2f} us, begun {:>6.2f} us before\n", name, us, before);
    out.push_back({{"name", name}, {"us", us}, {"early_us", before}});
  }
  return out;
}

}  // namespace bench
