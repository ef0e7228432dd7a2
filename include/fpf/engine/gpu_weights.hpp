// A model's weights as the kernels address them, on a GPU.
#pragma once

#include <ATen/ops/from_blob.h>

#include <fpf/engine/gpu_attention.hpp>
#include <fpf/kernel/plan/step.hpp>
#include <fpf/model/rope.hpp>
#include <fpf/model/weights.hpp>

namespace fpf::engine {

/// RoPE's tables of all positions as libtorch computes and rounds them to the activations' dtype.
inline GpuRope gpu_rope(const model::ModelConfig& config, const at::TensorOptions& options) {
  const execution::RopeTable table = model::rope_table(config, 0, config.max_positions, options);
  const auto half = [&](const at::Tensor& t) {
    return t.narrow(1, 0, config.head_dim / 2).to(at::kFloat).contiguous();
  };
  return {half(table.cos), half(table.sin)};
}

/// The portable execution's.
inline GpuRope exact_gpu_rope(const model::ModelConfig& config, at::Device device) {
  const portable::RopeTable table(0, config.max_positions, model::exact_inverse_frequencies(config));
  const auto upload = [&](const std::vector<float>& values) {
    return at::from_blob(const_cast<float*>(values.data()), {static_cast<std::int64_t>(values.size())}, at::kFloat)
        .to(device);
  };
  return {upload(table.cos), upload(table.sin)};
}

/// Of a layer, with its part of the cache.
inline kernel::LayerWeights layer_addresses(const model::Layer& layer, const kernel::CacheView& cache) {
  const auto pointer = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
  kernel::LayerWeights out;
  out.input_norm = pointer(layer.input_norm);
  out.post_norm = pointer(layer.post_norm);
  out.q_norm = pointer(layer.q_norm);
  out.k_norm = pointer(layer.k_norm);
  out.qkv = layer.qkv.matrix();
  out.o = layer.o.matrix();
  const bool sparse = !layer.experts.empty();
  if (sparse) out.router = layer.router.matrix();
  const model::Mlp& first = sparse ? layer.experts.front() : layer.mlp;
  out.gate_up = first.gate.packed().format;
  out.down = first.down.packed().format;
  out.experts = static_cast<const kernel::Expert*>(layer.expert_table.const_data_ptr());
  out.cache = cache;
  return out;
}

/// Of the whole model, which must outlive what reads them.
inline kernel::ModelWeights addresses(const model::Weights<>& weights, const GpuRope& rope,
                                      const model::KvCache& cache) {
  kernel::ModelWeights out;
  for (std::size_t i = 0; i < weights.layers.size(); ++i)
    out.layers.push_back(layer_addresses(weights.layers[i], cache.view(static_cast<std::int64_t>(i))));
  out.embedding = weights.embedding.const_data_ptr();
  out.final_norm = weights.final_norm.const_data_ptr();
  out.head = weights.head.matrix();
  out.cos = rope.cos.const_data_ptr<float>();
  out.sin = rope.sin.const_data_ptr<float>();
  return out;
}

}  // namespace fpf::engine
