// What kernels.hpp is, for the portable execution.
#pragma once

#include <string>
#include <string_view>
#include <tuple>

namespace fpf::kernel::instance::portable {

// ---- products

struct Gemv {
  static constexpr std::string_view file = "portable/gemv.cuh", name = "portable_gemv";
  std::string weight, type;
  int lanes, groups, per_thread;
  bool norm, add;
  auto arguments() const { return std::tie(weight, type, lanes, groups, per_thread, norm, add); }
};

struct Gemm {
  static constexpr std::string_view file = "portable/gemm.cuh", name = "portable_gemm";
  std::string weight;
  bool add;
  auto arguments() const { return std::tie(weight, add); }
};

struct GemmGrouped {
  static constexpr std::string_view file = "portable/gemm.cuh", name = "portable_gemm_grouped";
  std::string weight;
  auto arguments() const { return std::tie(weight); }
};

struct Norm {
  static constexpr std::string_view file = "portable/norm.cuh", name = "portable_norm";
  std::string type;
  int k, threads;
  auto arguments() const { return std::tie(type, k, threads); }
};

// ---- attention

struct RopeAppend {
  static constexpr std::string_view file = "portable/attention.cuh", name = "portable_rope_append";
  std::string type;
  int heads, kv_heads, head_dim;
  bool head_norm;
  auto arguments() const { return std::tie(type, heads, kv_heads, head_dim, head_norm); }
};

struct Attend {
  static constexpr std::string_view file = "portable/attention.cuh", name = "portable_attend";
  std::string type;
  int heads, kv_heads, head_dim;
  bool head_norm, append;
  auto arguments() const { return std::tie(type, heads, kv_heads, head_dim, head_norm, append); }
};

struct AttendJoin {
  static constexpr std::string_view file = "portable/attention.cuh", name = "portable_attend_join";
  int heads, head_dim;
  auto arguments() const { return std::tie(heads, head_dim); }
};

// ---- experts

struct Route {
  static constexpr std::string_view file = "portable/moe.cuh", name = "portable_route";
  int experts, top_k;
  bool renormalise;
  auto arguments() const { return std::tie(experts, top_k, renormalise); }
};

struct GateUp {
  static constexpr std::string_view file = "portable/moe.cuh", name = "portable_gate_up";
  std::string weight;
  int intermediate, top_k, lanes, groups, per_thread;
  auto arguments() const { return std::tie(weight, intermediate, top_k, lanes, groups, per_thread); }
};

struct Down {
  static constexpr std::string_view file = "portable/moe.cuh", name = "portable_down";
  std::string weight, type;
  int hidden, top_k, threads, per_thread;
  auto arguments() const { return std::tie(weight, type, hidden, top_k, threads, per_thread); }
};

struct Group {
  static constexpr std::string_view file = "portable/moe.cuh", name = "portable_group";
  int experts;
  auto arguments() const { return std::tie(experts); }
};

struct SiluMul {
  static constexpr std::string_view file = "portable/moe.cuh", name = "portable_silu_mul";
  auto arguments() const { return std::tie(); }
};

struct ExpertsSum {
  static constexpr std::string_view file = "portable/moe.cuh", name = "portable_experts_sum";
  std::string type;
  int hidden, top_k;
  auto arguments() const { return std::tie(type, hidden, top_k); }
};

// ---- ends

struct Embed {
  static constexpr std::string_view file = "portable/head.cuh", name = "portable_embed";
  std::string type, id;
  int hidden;
  auto arguments() const { return std::tie(type, id, hidden); }
};

struct TopSlices {
  static constexpr std::string_view file = "portable/head.cuh", name = "portable_top_slices";
  int k, slices, each;
  auto arguments() const { return std::tie(k, slices, each); }
};

struct ExpSums {
  static constexpr std::string_view file = "portable/head.cuh", name = "portable_exp_sums";
  int k, slices;
  auto arguments() const { return std::tie(k, slices); }
};

struct LogProbs {
  static constexpr std::string_view file = "portable/head.cuh", name = "portable_log_probs";
  int k, slices;
  auto arguments() const { return std::tie(k, slices); }
};

struct Narrow {
  static constexpr std::string_view file = "portable/head.cuh", name = "portable_narrow";
  std::string type;
  auto arguments() const { return std::tie(type); }
};

}  // namespace fpf::kernel::instance::portable
