// What a plan needs of memory and disk, from its models and experiments, and what there is.
#pragma once

#include <fpf/campaign/estimate.hpp>
#include <fpf/kernel/host/driver_api.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fstream>
#include <sstream>
#include <string>

namespace fpf::preflight {

/// Bytes that this machine's processes may still take: the system's, or less where a container has a limit.
inline double available_memory() {
  double out = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);)
    if (line.starts_with("MemAvailable:")) {
      std::istringstream fields(line.substr(13));
      fields >> out;
      out *= 1024;
    }
  double limit = 0, used = 0;
  std::ifstream("/sys/fs/cgroup/memory.max") >> limit;  // "max" leaves 0
  std::ifstream("/sys/fs/cgroup/memory.current") >> used;
  return limit > 0 ? std::min(out, std::max(0.0, limit - used)) : out;
}

/// Free bytes of a GPU. Throws Error where it does not exist.
inline double available_device_memory(int ordinal) {
  const auto& api = kernel::cuda::driver();
  kernel::cuda::Device device = 0;
  kernel::cuda::Context context{};
  std::size_t free = 0, total = 0;
  api.check(api.device_get(&device, ordinal), "cuDeviceGet");
  api.check(api.device_primary_ctx_retain(&context, device), "cuDevicePrimaryCtxRetain");
  api.check(api.ctx_set_current(context), "cuCtxSetCurrent");
  api.check(api.mem_get_info(&free, &total), "cuMemGetInfo");
  return static_cast<double>(free);
}

/// Bytes of the largest configuration on one device: the weights that a trial of `layers` layers held, carried to all
/// of them; the KV cache and the activations of the largest batch; where experiment 4 is planned its scores, two
/// copies. Plus `fixed`, what a process takes whatever the model.
inline double needed_memory(const model::ModelConfig& c, double trial_weight_bytes, std::int64_t layers, DType dtype,
                            std::int64_t tokens, std::int64_t batch, bool eager_attention, double fixed) {
  const auto size = static_cast<double>(size_of(dtype));
  const auto outside = static_cast<double>((c.tied_head ? 1 : 2) * c.vocab_size * c.hidden_size) * size;
  const double layer = std::max(0.0, trial_weight_bytes - outside) / static_cast<double>(layers);
  const auto positions = static_cast<double>(tokens * batch);
  const double cache =
      2.0 * static_cast<double>(c.num_layers * c.kv_size() * model::KvCache::capacity_for(tokens) * batch) * size;
  const auto widest = static_cast<double>(
      std::max(c.intermediate_size, c.is_moe() ? c.experts_per_token * c.moe_intermediate_size : 0));
  const double activations =
      positions * (4 * static_cast<double>(c.hidden_size) + 2 * static_cast<double>(c.q_size()) + 3 * widest) * size;
  const double scores = eager_attention ? 2.0 * static_cast<double>(c.num_heads) * static_cast<double>(tokens) *
                                              static_cast<double>(tokens) * 4
                                        : 0;
  return outside + layer * static_cast<double>(c.num_layers) + cache + activations + scores + fixed;
}

}  // namespace fpf::preflight
