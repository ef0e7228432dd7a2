// Token ids on their way into a forward pass.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace fpf::model {

/// Texts as token ids, all of one length.
using Windows = std::vector<std::vector<std::int32_t>>;

/// Token ids of one length -> [sequences, tokens] int64 on the CPU.
inline at::Tensor batch_of(const Windows& texts) {
  const auto length = static_cast<std::int64_t>(texts.front().size());
  at::Tensor out = at::empty({static_cast<std::int64_t>(texts.size()), length}, at::kLong);
  auto* to = out.data_ptr<std::int64_t>();
  for (const auto& ids : texts) {
    if (static_cast<std::int64_t>(ids.size()) != length)
      throw std::logic_error("the prompts of a batch must have one length");
    to = std::ranges::copy(ids, to).out;
  }
  return out;
}

}  // namespace fpf::model
