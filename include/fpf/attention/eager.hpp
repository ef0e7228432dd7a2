// Attention written out: scores, mask, float32 softmax, product.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <fpf/attention/attention_kernel.hpp>
#include <fpf/kernel/plan/shapes.hpp>
#include <limits>

namespace fpf::attention {

/// The operations of transformers' eager_attention_forward, in its order and dtypes: q k^T in the
/// activations' dtype, times scale, softmax in float32 rounded back, times v. Queries go in blocks of `block`
/// tokens against the keys that they may see, one kv head at a time, so that 6144 tokens need tens of
/// megabytes and not gigabytes.
struct Eager {
  static constexpr std::string_view name = "eager";

  static constexpr std::int64_t block = 512;
  static constexpr Stated<Eager, kernel::AttentionForm> decode_form{kernel::AttentionForm::written_out};
  static constexpr Stated<Eager, KernelName> kernel{[](at::Device, at::ScalarType) -> std::string_view {
    return "libtorch matmul, mul, softmax in float32, matmul; queries in blocks of 512";
  }};

  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
    const std::int64_t tokens = q.size(2), length = k.size(2), kv_heads = k.size(1), group = q.size(1) / kv_heads;
    at::Tensor out = at::empty({q.size(0), tokens, q.size(1), q.size(3)}, q.options());
    for (std::int64_t head = 0; head < kv_heads; ++head) {
      for (std::int64_t begin = 0; begin < tokens; begin += block) {
        const std::int64_t count = std::min(block, tokens - begin), visible = length - tokens + begin + count;
        const at::Tensor keys = k.narrow(1, head, 1).narrow(2, 0, visible);
        const at::Tensor values = v.narrow(1, head, 1).narrow(2, 0, visible);
        at::Tensor scores = at::matmul(q.narrow(1, head * group, group).narrow(2, begin, count), keys.transpose(2, 3));
        scores.mul_(scale);
        if (count > 1) mask(scores);
        const at::Tensor weights = at::softmax(scores, -1, at::kFloat).to(q.scalar_type());
        out.narrow(1, begin, count).narrow(2, head * group, group).copy_(at::matmul(weights, values).transpose(1, 2));
      }
    }
    return out;
  }

 private:
  /// Query i of the block sees the keys up to visible - count + i.
  static void mask(at::Tensor& scores) {
    const std::int64_t count = scores.size(2), visible = scores.size(3);
    const at::Tensor key = at::arange(visible, scores.options().dtype(at::kLong));
    const at::Tensor last = at::arange(visible - count, visible, scores.options().dtype(at::kLong)).unsqueeze(1);
    scores.masked_fill_(key.gt(last), -std::numeric_limits<double>::infinity());
  }
};

static_assert(AttentionKernel<Eager>);

}  // namespace fpf::attention
