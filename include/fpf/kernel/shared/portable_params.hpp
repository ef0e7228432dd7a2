// Parameters of the portable execution's kernels (portable/*.cuh): plain data, shared between the host and the device.
// Activations are float32; T is what unquantised weights, the cache and recorded hidden states are in.
#pragma once

#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// portable/gemv.cuh, portable/gemm.cuh: matrix * x[row, :] becomes out[row, :] plus what `Add` says: 0 nothing, 1 what
/// is there, 2 a bias.
struct PortableProduct {
  const void* matrix;  // packed [n, K]
  const float* x;      // [rows, K]
  const void* norm;    // [K] T: weight of an RMSNorm that x goes through first (only kernels that normalise)
  float eps;           // of it
  float* normed;       // [rows, K]: receives its result, unless null
  float* out;          // [rows, n]
  int n;
  int rows;
  const float* bias = nullptr;  // [n] (only kernels that add one)
};

/// portable/gemm.cuh: the same for all experts, rows sorted by expert (PortableGroups).
struct PortableGrouped {
  const Expert* experts;
  const float* x;
  float* out;
  const int* ends;      // [experts]: where each one's rows end among the sorted
  const int* in_rows;   // [rows]: which row of x, times in_divisor; null: the sorted place itself
  const int* out_rows;  // [rows]: which row of out; null: the sorted place itself
  int in_divisor;
  int projection;  // 0 gate, 1 up, 2 down
  int n;
  int count;  // experts
};

/// portable/moe.cuh: one or a few rows' chosen experts.
struct PortableMoe {
  const Expert* experts;
  const int* ids;        // [rows, k]; null: a dense MLP, k = 1, not weighted
  const float* weights;  // [rows, k]
  const float* x;        // [rows, hidden], normalised
  float* activated;      // [rows, k, intermediate]
  float* out;            // [rows, hidden], added to
  void* tap;             // [rows, hidden] T or null
  const float* outputs;  // [rows, k, hidden] (only portable_experts_sum)
  int rows;
};

/// portable/moe.cuh: slots (row * k + choice) sorted by expert.
struct PortableGroups {
  const int* ids;  // [slots]; null: all of expert 0
  int* ends;       // [experts]
  int* order;      // [slots]
  int slots;
  int experts;
};

/// portable/norm.cuh
struct PortableNorm {
  const float* x;      // [rows, K]
  const void* weight;  // [K] T
  float* out;          // [rows, K]
  float eps;
};

/// portable/attention.cuh: rows are tokens, `tokens` of one sequence after another.
struct PortableAttention {
  float* qkv;          // [rows, (heads + 2 kv_heads) * head_dim]; q is turned in place
  const void* q_norm;  // [head_dim] T
  const void* k_norm;
  const float* cos;  // [positions, head_dim / 2]
  const float* sin;
  const int* position;  // [rows]
  CacheView cache;      // T
  float* partial;       // [rows, heads, blocks, head_dim]
  float* stats;         // [rows, heads, blocks, 2]: maximum, sum
  float* out;           // [rows, heads * head_dim]
  float scale, eps;
  int rows, tokens, first_row;
  int blocks;  // that partial has room for
};

/// portable/head.cuh
struct PortableEmbedding {
  const void* tokens;  // [rows] int32, or int64
  const void* table;   // [vocabulary, hidden] T
  float* out;          // [rows, hidden]
};
struct PortableLogProbs {
  const float* logits;  // [rows, vocabulary]
  void* candidates;     // [rows, slices, k] u64
  float* sums;          // [rows, ceil(vocabulary / 32)]
  int* ids;             // [rows, k]
  float* log_probs;     // [rows, k]
  int* next_token;      // [rows]
  int* position;        // [rows], incremented
  int vocabulary;
};

/// portable/head.cuh: float32 -> T
struct PortableNarrow {
  const float* from;
  void* to;
  long long count;
};

}  // namespace fpf::kernel
