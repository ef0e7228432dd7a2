// The router's choice and the log-probabilities of the portable execution on a CPU.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <fpf/execution/execution.hpp>
#include <fpf/execution/top_k.hpp>
#include <fpf/portable/loops.hpp>
#include <vector>

namespace fpf::portable {

/// logits [rows, experts] float32 -> the k largest, ties by the lower id; weights exp(logit - largest) over their sum
/// in that order, or over the sum of all experts' unless renormalised. ids int64, weights and margin float32.
inline execution::Routing route(const at::Tensor& logits, std::int64_t k, bool renormalise) {
  const std::int64_t rows = logits.size(0), experts = logits.size(1), kept = std::min(k + 1, experts);
  const execution::TopK top = execution::top_k(logits, kept);
  execution::Routing out{top.indices.narrow(1, 0, k).contiguous(), at::empty({rows, k}, at::kFloat),
                         at::empty({rows}, at::kFloat)};
  const Loops& loop = loops();
  at::parallel_for(0, rows, 64, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> all(static_cast<std::size_t>(experts));
    for (std::int64_t r = begin; r < end; ++r) {
      const float* const chosen = top.values.const_data_ptr<float>() + r * kept;
      float* const weights = out.weights.data_ptr<float>() + r * k;
      std::copy_n(chosen, k, weights);
      loop.exp_below(weights, chosen[0], k);
      float sum = 0.0f;
      if (renormalise) {
        for (std::int64_t i = 0; i < k; ++i) sum = add(sum, weights[i]);
      } else {
        std::copy_n(logits.const_data_ptr<float>() + r * experts, experts, all.data());
        loop.exp_below(all.data(), chosen[0], experts);
        sum = loop.sum(all.data(), experts);
      }
      for (std::int64_t i = 0; i < k; ++i) weights[i] = div(weights[i], sum);
      out.margin.data_ptr<float>()[r] = kept > k ? sub(chosen[k - 1], chosen[k]) : 0.0f;
    }
  });
  return out;
}

/// logits [rows, vocabulary] float32 -> the k largest, ties by the lower id, as (logit - largest) - ln of the sum of
/// exp(logit - largest).
inline execution::TopK log_probs(const at::Tensor& logits, std::int64_t k) {
  const at::Tensor in = logits.contiguous();
  const std::int64_t rows = in.size(0), vocabulary = in.size(1);
  execution::TopK out = execution::top_k(in, k);
  const Loops& loop = loops();
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> all(static_cast<std::size_t>(vocabulary));
    for (std::int64_t r = begin; r < end; ++r) {
      float* const values = out.values.data_ptr<float>() + r * k;
      const float largest = values[0];
      std::copy_n(in.const_data_ptr<float>() + r * vocabulary, vocabulary, all.data());
      loop.exp_below(all.data(), largest, vocabulary);
      const float log_sum = loop.log_sum(all.data(), vocabulary);
      for (std::int64_t i = 0; i < k; ++i) values[i] = sub(sub(values[i], largest), log_sum);
    }
  });
  return out;
}

}  // namespace fpf::portable
