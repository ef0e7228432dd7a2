// Where signals leave the forward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <fpf/evidence/signals.hpp>
#include <vector>

namespace fpf::model {

/// Receives the signals of a forward pass over [batch, tokens]. A tap must copy what it keeps before it returns: the
/// pass may overwrite the tensors. Layers that it does not want cost nothing.
class Taps {
 public:
  virtual ~Taps() = default;

  virtual bool wants(std::int64_t layer) const = 0;
  /// A layer's signal: the columns that signal_table gives it, [batch, tokens, ...] each, of any integer or
  /// floating-point dtype; keys are those of all heads of the model.
  virtual void take(evidence::StoredSignal signal, std::int64_t layer, const std::vector<at::Tensor>& columns) = 0;
};

}  // namespace fpf::model
