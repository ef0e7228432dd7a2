// How near a router's choice was to another one.
#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace fpf::execution {

/// logits [rows, experts], expert_ids [rows, k] int64 -> [rows] float32: the least logit of the chosen less the
/// greatest of the rejected, 0 where none was rejected.
inline at::Tensor router_margin(const at::Tensor& logits, const at::Tensor& expert_ids) {
  const at::Tensor wide = logits.to(at::kFloat).contiguous(), ids = expert_ids.contiguous();
  const std::int64_t rows = wide.size(0), experts = wide.size(1), k = ids.size(1);
  at::Tensor out = at::empty({rows}, at::kFloat);
  std::vector<bool> chosen(static_cast<std::size_t>(experts));
  for (std::int64_t r = 0; r < rows; ++r) {
    chosen.assign(chosen.size(), false);
    for (std::int64_t i = 0; i < k; ++i)
      chosen[static_cast<std::size_t>(ids.const_data_ptr<std::int64_t>()[r * k + i])] = true;
    float least = std::numeric_limits<float>::infinity(), greatest = -least;
    for (std::int64_t e = 0; e < experts; ++e) {
      const float logit = wide.const_data_ptr<float>()[r * experts + e];
      (chosen[static_cast<std::size_t>(e)] ? least : greatest) =
          chosen[static_cast<std::size_t>(e)] ? std::min(least, logit) : std::max(greatest, logit);
    }
    out.data_ptr<float>()[r] = k < experts ? least - greatest : 0.0f;
  }
  return out;
}

}  // namespace fpf::execution
