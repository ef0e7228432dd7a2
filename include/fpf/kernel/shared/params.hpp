// The kernels' parameters: plain data, shared between the host and the device. Shapes that are known when a
// model is loaded are template arguments of the kernels; what is here may change between launches.
//
// T is the activations' type: bf16, fp16 or float32. Everything a replayed graph must see anew (token ids,
// positions, router choices) is read through a pointer. Row strides are in elements where they are not the
// row's length.
#pragma once

namespace fpf::kernel {

/// gemv.cuh, rows.cuh: out[r, :] = matrix * x[r, :] plus what `Add` says: 0 nothing, 1 residual[r, :], 2 a bias, which
/// is residual[0, :] for every row.
struct GemvParams {
  const void* matrix;       // packed [n, K]
  const void* x;            // [rows, K] T
  const void* norm_weight;  // [K] T: x is normalised first (only kernels with Norm)
  const void* residual;     // [rows, n] T, may be `out`; a bias [n] T (only kernels with Add)
  void* out;                // [rows, n] T
  void* normed;             // [rows, K] T: receives the normalised x unless null (only kernels with Norm)
  int n;
  int rows;  // 1..8
  float eps;
};

/// One expert's matrices, or a dense layer's MLP.
struct Expert {
  const void* gate;  // packed [intermediate, hidden]
  const void* up;    // packed [intermediate, hidden]
  const void* down;  // packed [hidden, intermediate]
};

/// moe.cuh, moe_rows.cuh, moe_one.cuh: the chosen experts' MLPs. Either `logits` is given and every kernel chooses for
/// itself, or `expert_ids` and `weights` are.
struct MoeParams {
  const Expert* experts;  // [experts]
  const void* logits;     // [rows, experts] T: the router's (only kernels with Route)
  const int* expert_ids;  // [rows, top_k]
  const float* weights;   // [rows, top_k]
  const void* x;          // [rows, hidden] T, normalised
  void* activated;        // [rows, top_k, intermediate] T: silu(gate x) * up x
  const void* residual;   // [rows, hidden] T, may be `out`; null: none
  void* out;              // [rows, hidden] T
  int* chosen_ids;        // [rows, top_k], where the choice is to be reported; null: nowhere (only kernels with
                          // Route)
  float* chosen_weights;  // [rows, top_k]
  float* margin;          // [rows]
  int rows;               // 1..8
};

/// router.cuh: softmax over all experts, the top_k largest, their weights
struct RouteParams {
  const void* logits;  // [rows, experts] T
  int* expert_ids;     // [rows, top_k], by descending weight, equal ones by the lower id
  float* weights;      // [rows, top_k]
  float* margin;       // [rows]: least logit of the chosen less the greatest of the rejected
  int rows;
};

/// norm.cuh: out = RMSNorm(x (+ delta)) * weight, row by row
struct NormParams {
  const void* x;       // [rows, K] T
  const void* delta;   // [rows, K] T, added to x first; null: none
  void* sum;           // [rows, K] T: receives x + delta, may be `x`
  const void* weight;  // [K] T
  void* out;           // [rows, K] T
  float eps;
};

/// elementwise.cuh: out[i] from a[i] and b[i]
struct ElementwiseParams {
  const void* a;
  const void* b;
  void* out;
  long long count;
};

/// Where a layer's keys and values lie: element strides of [batch, kv_heads, positions, head_dim], the last
/// one 1.
struct CacheView {
  void* keys;
  void* values;
  long long batch_stride, head_stride, position_stride;
};

/// rope.cuh, attention.cuh
struct AttentionParams {
  const void* qkv;      // [rows, (heads + 2 kv_heads) * head_dim] T: q heads, then k heads, then v heads
  const void* q_norm;   // [head_dim] T (only kernels with HeadNorm)
  const void* k_norm;   // [head_dim] T
  const float* cos;     // [positions, head_dim / 2]
  const float* sin;     // [positions, head_dim / 2]
  const int* position;  // [rows]: where each row's new token stands; it sees positions 0..position
  CacheView cache;
  void* q;         // [rows, heads * head_dim] T: q after norm and RoPE (rope.cuh writes it, unfused attention reads
                   // it)
  float* partial;  // [rows, heads, splits, head_dim]: each split's sum of p v
  float* partial_stats;  // [rows, heads, splits, 2]: its maximum (in powers of 2) and its sum of p
  void* out;             // [rows, heads * head_dim] T
  float scale;           // 1 / sqrt(head_dim)
  float eps;
  int rows;
  void* scores;  // [rows, heads, capacity] T (only attention_eager.cuh)
  int capacity;  // positions that a row has room for
};

/// time_stamp.cuh
struct TimeStampParams {
  unsigned long long* out;
};

/// head.cuh: token ids -> rows of the embedding
struct EmbeddingParams {
  const int* tokens;  // [rows]
  const void* table;  // [vocabulary, hidden] T
  void* out;          // [rows, hidden] T
};

/// head.cuh: the k largest log-probabilities of each row
struct LogProbParams {
  const void* logits;  // [rows, vocabulary] T
  void* candidates;    // [rows, blocks, k] u64
  float* partial;      // [rows, blocks, 2]: each block's maximum and sum of exp(logit - maximum)
  int* ids;            // [rows, k], descending, equal ones by the lower id
  float* log_probs;    // [rows, k] log_softmax in float32
  int* next_token;     // [rows]: receives ids[:, 0] unless null
  int* position;       // [rows]: incremented unless null
  int vocabulary;
};

/// repack.cuh: from a checkpoint's layout to the packed one (packed.cuh)
struct RepackParams {
  const void* codes;     // AWQ qweight [K, n/8]; GPTQ qweight [K/8, n]; NF4 bytes [n * K / 2]
  const void* zeros;     // AWQ qzeros [groups, n/8]; GPTQ qzeros [groups, ceil(n/8)]; null: all 8
  const void* scales;    // [groups, n]; NF4 absmax float [n * K / 64]
  const void* map;       // NF4 quant_map float [16]
  const int* order;      // GPTQ with a g_idx that is not monotone: [K], the column that stands k-th by group; else null
  void* matrix;          // packed [n_total, K]
  int n;                 // rows of this matrix
  int n_total;           // rows of the packed matrix, which may hold several (q, k and v)
  int first_row;         // where this one begins there
  unsigned zero_offset;  // added to every word of zeros: 0x11111111 for GPTQ's first format, else 0
};

/// repack.cuh: packed -> dense, for matrix products by a library
struct DequantiseParams {
  const void* matrix;  // packed [n, K]
  void* out;           // [n, K] T
  int n;
};

/// repack.cuh: one projection of all experts, packed -> dense [experts, n, K]
struct StackParams {
  const Expert* experts;
  void* out;
  int n;
  int projection;  // 0 gate, 1 up, 2 down
};

/// synthetic.cuh: a tensor of a synthetic model (weights/synthetic_tensor.hpp's Recipe)
struct SyntheticParams {
  void* out;
  long long bytes;
  unsigned long long key, mask, addend;
  float mean, step;
  int divisor;
};

}  // namespace fpf::kernel
