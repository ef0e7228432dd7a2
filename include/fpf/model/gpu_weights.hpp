// A layer's weights as the decode step's kernels address them.
#pragma once

#include <fpf/kernel/step_layout.hpp>
#include <fpf/model/layer.hpp>

namespace fpf::model {

/// Of a layer that lies on a GPU, with its part of the cache.
inline kernel::LayerWeights layer_weights(const Layer& layer, const kernel::CacheView& cache) {
  const auto pointer = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
  kernel::LayerWeights out;
  out.input_norm = pointer(layer.input_norm);
  out.post_norm = pointer(layer.post_norm);
  out.q_norm = pointer(layer.q_norm);
  out.k_norm = pointer(layer.k_norm);
  out.qkv = layer.qkv.packed().matrix();
  out.o = layer.o.packed().matrix();
  const bool sparse = !layer.experts.empty();
  if (sparse) out.router = layer.router.packed().matrix();
  const Mlp& first = sparse ? layer.experts.front() : layer.mlp;
  out.gate_up = first.gate.packed().format;
  out.down = first.down.packed().format;
  out.experts = static_cast<const kernel::Expert*>(layer.expert_table.const_data_ptr());
  out.cache = cache;
  return out;
}

}  // namespace fpf::model
