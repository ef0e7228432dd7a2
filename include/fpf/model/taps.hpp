// Where signals leave the forward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <fpf/execution/execution.hpp>

namespace fpf::model {

/// Receives intermediate tensors of a forward pass by name. A tap must copy what it keeps before it returns: the pass
/// may overwrite the tensor. Layers that it does not want cost nothing.
class Taps {
 public:
  virtual ~Taps() = default;

  virtual bool wants(std::int64_t layer) const = 0;
  /// The residual stream leaving a layer: [batch, tokens, hidden].
  virtual void hidden(std::int64_t layer, const at::Tensor& x) = 0;
  /// What a layer puts into its KV cache: [batch, kv_heads, tokens, head_dim], all heads of the model.
  virtual void key(std::int64_t layer, const at::Tensor& k) = 0;
  /// The router's choice for the batch * tokens rows of a layer.
  virtual void router(std::int64_t layer, const execution::Routing& routing) = 0;
};

}  // namespace fpf::model
