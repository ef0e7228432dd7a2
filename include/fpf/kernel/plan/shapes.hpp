// What kernels are specialised on: types, packed formats, shapes. Plain data, without a GPU or a compiler.
#pragma once

#include <fpf/kernel/plan/weight_format.hpp>
#include <stdexcept>
#include <string_view>

namespace fpf::kernel {

/// How a product with few rows is computed. Both give each row the bits it would get alone.
enum class Arithmetic {
  fma,          // float32 fused multiply-adds, rows one after another (gemv.cuh); any activations
  tensor_cores  // float32 accumulators, rows at once (rows.cuh); 16-bit activations
};

/// What a product does besides multiplying.
struct Fusion {
  bool norm = false;  // RMS-normalise x on the way in
  bool add = false;   // add a residual before the result is rounded
  bool bias = false;  // or a bias

  bool adds() const { return add || bias; }
  /// The kernels' argument Add: a name without a bias is what it was before there were any.
  std::string_view added() const {
    if (add && bias) throw std::logic_error("a product adds a residual or a bias, not both");
    return bias ? "2" : add ? "true" : "false";
  }
};

/// Shape of a mixture-of-experts layer, or of a dense MLP as one expert.
struct MoeShape {
  int hidden, intermediate, experts, top_k;
  bool renormalise = true;
};

/// How a decode step attends: in parts with an online softmax (attention.cuh), or written out as a
/// framework's eager operators (attention_eager.cuh).
enum class AttentionForm { split, written_out };

/// Heads of a layer. splits: parts that a sequence's cache is cut into; a choice that shows in the results'
/// last bits, so it belongs into the manifest and must not depend on the machine at hand unless that is
/// wanted.
struct AttentionShape {
  int heads, kv_heads, head_dim;
  bool head_norm;
  int splits = 33;
  int warps = 12;
  AttentionForm form = AttentionForm::split;
};

}  // namespace fpf::kernel
