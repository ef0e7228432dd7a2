// RoPE's frequencies: the one place where a configuration becomes angles.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>

#include <fpf/execution/execution.hpp>
#include <fpf/model/config.hpp>
#include <fpf/portable/rope.hpp>
#include <vector>

namespace fpf::model {

/// 1 / theta^(2i / head_dim), [head_dim / 2] float32, as transformers computes them on that device.
inline at::Tensor inverse_frequencies(const ModelConfig& config, at::Device device) {
  const at::Tensor exponents = at::arange(0, config.head_dim, 2, at::TensorOptions(at::kFloat).device(device)) /
                               static_cast<double>(config.head_dim);
  return at::pow(at::Scalar(config.rope_theta), exponents).reciprocal();
}

/// The same in binary64 operations of defined order, for the portable execution.
inline std::vector<double> exact_inverse_frequencies(const ModelConfig& config) {
  return portable::inverse_frequencies(config.head_dim, config.rope_theta);
}

/// cos and sin of the angles of `count` positions from `begin` on, in float32, rounded once to the options' dtype
/// (transformers' default RoPE).
inline execution::RopeTable rope_table(const ModelConfig& config, std::int64_t begin, std::int64_t count,
                                       const at::TensorOptions& options) {
  const at::Tensor positions = at::arange(begin, begin + count, options.dtype(at::kFloat));
  const at::Tensor angles = at::outer(positions, inverse_frequencies(config, options.device()));
  const at::Tensor both = at::cat({angles, angles}, -1);
  const auto dtype = c10::typeMetaToScalarType(options.dtype());
  return {both.cos().to(dtype), both.sin().to(dtype)};
}

}  // namespace fpf::model
