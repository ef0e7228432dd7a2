// What a difference in each field of a configuration means, decided once more by hand (conditions.cpp holds the table in
// evidence/conditions.hpp to it).
#pragma once

#include <fpf/evidence/conditions.hpp>

#include "folders.hpp"

namespace decided {

/// The decisions, once more: what a difference means beside the variable of an experiment, and between two machines. A new
/// field of a configuration fails conditions.cpp until it stands here and in the table.
struct Decision {
  std::string field;  // "a/*": all below a
  fpf::evidence::Treatment beside, between;
  std::string variable_of{};
};
inline constexpr auto allowed = fpf::evidence::Treatment::allowed, reported = fpf::evidence::Treatment::reported,
                      refused = fpf::evidence::Treatment::refused;
inline const std::string kernels =
                             "batch_size compile quantization attention cuda_version tensor_parallel expert_parallel",
                         ranks = "tensor_parallel expert_parallel";
inline const std::vector<Decision> decisions{
    {"config_id", allowed, allowed},
    {"variable_value", allowed, allowed},
    {"baseline", allowed, allowed},
    {"hardware", refused, allowed},
    {"provider", reported, allowed},
    {"cuda_version", refused, reported, "cuda_version"},
    {"torch_version", refused, reported, "cuda_version"},
    {"transformers_version", refused, reported},
    {"flash_attn_version", allowed, allowed},
    {"python_version", refused, reported},
    {"fixed_params/compile", refused, refused, "compile"},
    {"fixed_params/execution", refused, refused, "compile"},
    {"fixed_params/attention_impl", refused, refused, "attention"},
    {"fixed_params/tp_size", refused, refused, "tensor_parallel"},
    {"fixed_params/ep_size", refused, refused, "expert_parallel"},
    {"fixed_params/expert_placement", refused, refused, "expert_parallel"},
    {"fixed_params/concurrent_streams", refused, refused, "concurrent_streams"},
    {"fixed_params/batch_size", refused, refused, "batch_size"},
    {"fixed_params/quantization", refused, refused, "quantization"},
    {"fixed_params/kernels_by", refused, refused, "cuda_version"},
    {"neighbours", refused, refused, "batch_size"},
    {"threads", refused, allowed},
    {"manifest/fpf/version", reported, reported},
    {"manifest/fpf/revision", reported, reported},
    {"manifest/device/type", refused, allowed},
    {"manifest/device/name", refused, allowed},
    {"manifest/device/cores", reported, allowed},
    {"manifest/device/host", reported, allowed},
    {"manifest/device/multiprocessors", refused, allowed},
    {"manifest/device/compute_capability", refused, allowed},
    {"manifest/device/driver", reported, allowed},
    {"manifest/device/clock_mhz", reported, allowed},
    {"manifest/device/memory_clock_mhz", reported, allowed},
    {"manifest/threads", allowed, allowed},
    {"manifest/cpu_capability", refused, allowed, "cuda_version"},
    {"manifest/libraries/libtorch", refused, reported, "cuda_version"},
    {"manifest/libraries/cuda", refused, reported, "cuda_version"},
    {"manifest/libraries/mkl", refused, reported, "cuda_version"},
    {"manifest/libraries/onednn", refused, reported, "cuda_version"},
    {"manifest/libraries/openmp", refused, reported, "cuda_version"},
    {"manifest/knobs/deterministic_algorithms", refused, refused},
    {"manifest/knobs/tf32_matmul", refused, refused},
    {"manifest/knobs/float32_matmul_precision", refused, refused},
    {"manifest/model/*", allowed, allowed},   // held against one another by content, below
    {"manifest/prompt/*", allowed, allowed},  // prompt_sha256 decides
    {"manifest/activation_dtype", refused, refused},
    {"manifest/policies/quantisation", refused, refused, "quantization"},
    {"manifest/policies/attention", refused, refused, "attention"},
    {"manifest/policies/parallelism", refused, refused, ranks},
    {"manifest/policies/stream", refused, refused, "concurrent_streams"},
    {"manifest/policies/execution", refused, refused, "compile"},
    {"manifest/policies/execution_detail", refused, refused, "compile"},
    {"manifest/ranks", allowed, allowed},
    {"manifest/communicator/*", reported, reported, ranks},
    {"manifest/operations/*", reported, allowed, kernels},
    {"manifest/nvrtc/version", refused, reported, "cuda_version"},
    {"manifest/nvrtc/library", allowed, allowed},
};

/// What only a GPU's manifest has, beside what the experiments here write.
inline const json on_gpu = {{"fixed_params", {{"kernels_by", "NVRTC 12.1"}}},
                            {"neighbours", {"a"}},
                            {"threads", 1},
                            {"manifest",
                             {{"device",
                               {{"host", "h"},
                                {"multiprocessors", 1},
                                {"compute_capability", "9.0"},
                                {"driver", "CUDA 13.0"},
                                {"clock_mhz", 1},
                                {"memory_clock_mhz", 1}}},
                              {"nvrtc", {{"version", "13.0"}, {"library", "l"}}}}}};

inline bool covers(const std::string& pattern, const std::string& field) {
  return pattern.ends_with("/*") ? field.starts_with(pattern.substr(0, pattern.size() - 1)) : pattern == field;
}

inline const Decision* decision_on(const std::string& field) {
  const auto found = std::ranges::find_if(decisions, [&](const Decision& d) { return covers(d.field, field); });
  return found == decisions.end() ? nullptr : &*found;
}

}  // namespace decided
