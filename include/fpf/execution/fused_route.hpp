// A router's softmax, choice and weights in one pass.
#pragma once

#include <cmath>
#include <fpf/execution/elements.hpp>
#include <fpf/execution/execution.hpp>
#include <fpf/execution/top_k.hpp>

namespace fpf::execution {

/// logits [rows, experts] -> the k experts of the largest logits (softmax keeps their order), weighted by the
/// softmax over all experts, or over the chosen ones when renormalised; in float32, weights rounded once to
/// logits' dtype.
inline Routing fused_route(const at::Tensor& logits, std::int64_t k, bool renormalise) {
  const at::Tensor wide = logits.to(at::kFloat).contiguous();
  const std::int64_t rows = wide.size(0), experts = wide.size(1), kept = std::min(k + 1, experts);
  const TopK top = top_k(wide, kept);
  Routing out{top.indices.narrow(1, 0, k), at::empty({rows, k}, wide.options()), at::empty({rows}, wide.options())};
  for_rows(rows, experts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* const chosen = top.values.const_data_ptr<float>() + r * kept;
      const float* const all = wide.const_data_ptr<float>() + r * experts;
      float* const weights = out.weights.data_ptr<float>() + r * k;
      float sum = 0;
      for (std::int64_t i = 0; i < k; ++i) weights[i] = std::exp(chosen[i] - chosen[0]);
      for (std::int64_t i = 0; i < (renormalise ? k : experts); ++i)
        sum += renormalise ? weights[i] : std::exp(all[i] - chosen[0]);
      for (std::int64_t i = 0; i < k; ++i) weights[i] /= sum;
      out.margin.data_ptr<float>()[r] = kept > k ? chosen[k - 1] - chosen[k] : 0.0f;
    }
  });
  out.weights = out.weights.to(logits.scalar_type());
  return out;
}

}  // namespace fpf::execution
