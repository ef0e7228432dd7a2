// The kernels by name: a struct each, whose members are the kernel's template parameters. arguments() is the one place that
// says their order; tests/kernel_arguments.cpp holds it to the template in the .cuh.
#pragma once

#include <string>
#include <string_view>
#include <tuple>

/// A kernel's template arguments. `weight`, `type` and what else is a string: the device's type, as WeightFormat::type() and
/// device_type() spell it.
namespace fpf::kernel::instance {

// ---- product

struct Gemv {
  static constexpr std::string_view file = "product/gemv.cuh", name = "gemv";
  std::string weight, type;
  int lanes, groups, per_thread;
  bool norm, add;
  auto arguments() const { return std::tie(weight, type, lanes, groups, per_thread, norm, add); }
};

struct GemvStream {
  static constexpr std::string_view file = "product/gemv.cuh", name = "gemv_stream";
  std::string weight, type;
  int warps, per_warp;
  bool norm;
  auto arguments() const { return std::tie(weight, type, warps, per_warp, norm); }
};

struct GemvRows {
  static constexpr std::string_view file = "product/rows.cuh", name = "gemv_rows";
  std::string weight, type;
  int warps;
  bool norm, add;
  auto arguments() const { return std::tie(weight, type, warps, norm, add); }
};

// ---- experts

struct MoeGateUp {
  static constexpr std::string_view file = "experts/moe.cuh", name = "moe_gate_up";
  std::string weight, type;
  int intermediate, top_k, lanes, groups, per_thread;
  bool round;
  auto arguments() const { return std::tie(weight, type, intermediate, top_k, lanes, groups, per_thread, round); }
};

struct MoeDown {
  static constexpr std::string_view file = "experts/moe.cuh", name = "moe_down";
  std::string weight, type;
  int hidden, top_k, lanes, per_thread;
  bool round;
  auto arguments() const { return std::tie(weight, type, hidden, top_k, lanes, per_thread, round); }
};

struct MoeGateUpRows {
  static constexpr std::string_view file = "experts/moe_rows.cuh", name = "moe_gate_up_rows";
  std::string weight, type;
  int intermediate, top_k, warps;
  bool round;
  auto arguments() const { return std::tie(weight, type, intermediate, top_k, warps, round); }
};

struct MoeDownRows {
  static constexpr std::string_view file = "experts/moe_rows.cuh", name = "moe_down_rows";
  std::string weight, type;
  int hidden, top_k, teams, warps_each;
  bool round;
  auto arguments() const { return std::tie(weight, type, hidden, top_k, teams, warps_each, round); }
};

struct MoeGateUpOne {
  static constexpr std::string_view file = "experts/moe_one.cuh", name = "moe_gate_up_one";
  std::string weight, type;
  int intermediate, experts, top_k, tiles, warps;
  bool renormalise;
  auto arguments() const { return std::tie(weight, type, intermediate, experts, top_k, tiles, warps, renormalise); }
};

struct MoeGateUpOneOrdered {
  static constexpr std::string_view file = "experts/moe_one.cuh", name = "moe_gate_up_one_ordered";
  std::string weight, type;
  int intermediate, experts, top_k, warps;
  bool renormalise;
  auto arguments() const { return std::tie(weight, type, intermediate, experts, top_k, warps, renormalise); }
};

struct MoeDownOne {
  static constexpr std::string_view file = "experts/moe_one.cuh", name = "moe_down_one";
  std::string weight, type;
  int hidden, experts, top_k, warps_each;
  bool renormalise;
  auto arguments() const { return std::tie(weight, type, hidden, experts, top_k, warps_each, renormalise); }
};

struct Route {
  static constexpr std::string_view file = "experts/router.cuh", name = "route";
  std::string type;
  int experts, top_k;
  bool renormalise, round;
  auto arguments() const { return std::tie(type, experts, top_k, renormalise, round); }
};

// ---- attention

struct RopeAppend {
  static constexpr std::string_view file = "attention/rope.cuh", name = "rope_append";
  std::string type;
  int heads, kv_heads, head_dim;
  bool head_norm, round;
  auto arguments() const { return std::tie(type, heads, kv_heads, head_dim, head_norm, round); }
};

struct Attend {
  static constexpr std::string_view file = "attention/attention.cuh", name = "attend";
  std::string type;
  int heads, kv_heads, head_dim, splits, warps;
  bool fused, head_norm;
  auto arguments() const { return std::tie(type, heads, kv_heads, head_dim, splits, warps, fused, head_norm); }
};

struct AttendFloat {
  static constexpr std::string_view file = "attention/attention_float.cuh", name = "attend_float";
  int heads, kv_heads, head_dim, splits, warps;
  auto arguments() const { return std::tie(heads, kv_heads, head_dim, splits, warps); }
};

struct Combine {
  static constexpr std::string_view file = "attention/attention.cuh", name = "combine";
  std::string type;
  int heads, head_dim, splits;
  auto arguments() const { return std::tie(type, heads, head_dim, splits); }
};

struct EagerScores {
  static constexpr std::string_view file = "attention/attention_eager.cuh", name = "eager_scores";
  std::string type;
  int heads, kv_heads, head_dim;
  auto arguments() const { return std::tie(type, heads, kv_heads, head_dim); }
};

struct EagerSoftmax {
  static constexpr std::string_view file = "attention/attention_eager.cuh", name = "eager_softmax";
  std::string type;
  int heads;
  auto arguments() const { return std::tie(type, heads); }
};

struct EagerProduct {
  static constexpr std::string_view file = "attention/attention_eager.cuh", name = "eager_product";
  std::string type;
  int heads, kv_heads, head_dim, warps;
  auto arguments() const { return std::tie(type, heads, kv_heads, head_dim, warps); }
};

// ---- ends

struct RmsNorm {
  static constexpr std::string_view file = "ends/norm.cuh", name = "rms_norm";
  std::string type;
  int k, threads;
  bool round;
  auto arguments() const { return std::tie(type, k, threads, round); }
};

struct Elementwise {
  static constexpr std::string_view file = "ends/elementwise.cuh", name = "elementwise";
  std::string operation, type;
  auto arguments() const { return std::tie(operation, type); }
};

struct Embed {
  static constexpr std::string_view file = "ends/head.cuh", name = "embed";
  std::string type;
  int hidden;
  auto arguments() const { return std::tie(type, hidden); }
};

struct LogProbSlices {
  static constexpr std::string_view file = "ends/head.cuh", name = "log_prob_slices";
  std::string type;
  int k, blocks, each;
  auto arguments() const { return std::tie(type, k, blocks, each); }
};

struct LogProbs {
  static constexpr std::string_view file = "ends/head.cuh", name = "log_probs";
  int k, blocks;
  auto arguments() const { return std::tie(k, blocks); }
};

struct TimeStamp {
  static constexpr std::string_view file = "ends/time_stamp.cuh", name = "time_stamp";
  auto arguments() const { return std::tie(); }
};

// ---- weights

struct RepackCodes {
  static constexpr std::string_view file = "weights/repack.cuh", name = "repack_codes";
  std::string format, weight;
  auto arguments() const { return std::tie(format, weight); }
};

struct RepackScales {
  static constexpr std::string_view file = "weights/int4.cuh", name = "repack_scales";
  std::string format, weight;
  auto arguments() const { return std::tie(format, weight); }
};

struct RepackAbsmax {
  static constexpr std::string_view file = "weights/nf4.cuh", name = "repack_absmax";
  std::string weight;
  auto arguments() const { return std::tie(weight); }
};

struct Dequantise {
  static constexpr std::string_view file = "weights/repack.cuh", name = "dequantise";
  std::string weight, type;
  auto arguments() const { return std::tie(weight, type); }
};

struct DequantiseStack {
  static constexpr std::string_view file = "weights/repack.cuh", name = "dequantise_stack";
  std::string weight, type;
  auto arguments() const { return std::tie(weight, type); }
};

struct MakeSynthetic {
  static constexpr std::string_view file = "weights/synthetic.cuh", name = "make_synthetic";
  std::string made;
  auto arguments() const { return std::tie(made); }
};

}  // namespace fpf::kernel::instance
