// The nine experiments as their files name them.
#pragma once

#include <array>
#include <string_view>

namespace fpf::evidence {

/// One of the nine experiments: what its file varies.
struct ExperimentKind {
  std::string_view type;      // experiment_type
  std::string_view variable;  // variable_tested
  std::string_view
      value;  // JSON pointer to the member of a configuration that variable_value repeats; empty: see value_of()
  std::string_view baseline;  // JSON text of the baseline's value; empty: any
};

inline constexpr auto experiment_kinds = std::to_array<ExperimentKind>({
    {"reference", "none", "", "null"},
    {"batch_size", "batch_size", "/fixed_params/batch_size", "1"},
    {"compile", "compile", "/fixed_params/compile", "false"},
    {"quantization", "quant_method", "/manifest/policies/quantisation", "\"awq\""},
    {"attention", "attention_impl", "/fixed_params/attention_impl", "\"flash_attention_2\""},
    {"concurrent_streams", "concurrent_work", "/fixed_params/concurrent_streams", "false"},
    {"cuda_version", "cuda_version", "", ""},
    {"tensor_parallel", "tp_size", "/fixed_params/tp_size", "1"},
    {"expert_parallel", "ep_size", "/fixed_params/ep_size", "1"},
});

/// The kind of that experiment_type; null for one that is a user's own.
constexpr const ExperimentKind* kind_of(std::string_view experiment_type) {
  for (const ExperimentKind& kind : experiment_kinds)
    if (kind.type == experiment_type) return &kind;
  return nullptr;
}

}  // namespace fpf::evidence
