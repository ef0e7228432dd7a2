// From stacked q, k and v to rotated q and a filled cache on a GPU, in one kernel.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <fpf/kernel/plan/attention.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/quant/packed_matrix.hpp>

namespace fpf::engine {

/// cos and sin of RoPE's angles for all positions, as the activations' dtype rounds them: [positions, head_dim / 2]
/// float32.
struct GpuRope {
  at::Tensor cos, sin;
};

/// Norms of q's and k's heads: [head_dim], undefined where the model has none.
struct HeadNorms {
  const at::Tensor &q, &k;
  double eps;
};

/// qkv [batch, tokens, heads + 2 kv_heads, head_dim], at the positions after the cache's: k and v go into the layer's
/// cache after norm and RoPE; q comes back as [batch, heads, tokens, head_dim]. Rounded after every operation.
inline at::Tensor rope_append(const at::Tensor& qkv, std::int64_t heads, const HeadNorms& norms, const GpuRope& rope,
                              const model::KvCache& cache, std::int64_t layer) {
  const std::int64_t batch = qkv.size(0), tokens = qkv.size(1), d = qkv.size(3), kv_heads = (qkv.size(2) - heads) / 2;
  const at::Tensor in = qkv.contiguous();
  at::Tensor q = at::empty({batch, tokens, heads, d}, in.options());
  const at::Tensor position = at::arange(cache.length(), cache.length() + tokens, in.options().dtype(at::kInt));
  const kernel::AttentionShape shape{static_cast<int>(heads), static_cast<int>(kv_heads), static_cast<int>(d),
                                     norms.q.defined()};
  const kernel::Operation operation(device::kernels(in.device()),
                                    kernel::plan_rope_append(device::dtype_of(in.scalar_type()), shape, true));
  for (std::int64_t b = 0; b < batch; ++b) {
    kernel::AttentionParams params{};
    params.qkv = in.select(0, b).const_data_ptr();
    params.q = q.select(0, b).data_ptr();
    params.q_norm = norms.q.defined() ? norms.q.const_data_ptr() : nullptr;
    params.k_norm = norms.k.defined() ? norms.k.const_data_ptr() : nullptr;
    params.cos = rope.cos.const_data_ptr<float>();
    params.sin = rope.sin.const_data_ptr<float>();
    params.position = position.const_data_ptr<int>();
    params.cache = cache.view(layer, b);  // rows of the kernel are tokens of one sequence
    params.eps = static_cast<float>(norms.eps);
    params.rows = static_cast<int>(tokens);
    operation(device::current_stream(in.device()), params, static_cast<int>(tokens));
  }
  return q.transpose(1, 2);
}

}  // namespace fpf::engine
