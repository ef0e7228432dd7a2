// The k largest of a row with a defined order of ties.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace fpf::execution {

/// The k largest values of each row and their indices, descending, equal values by the lower index.
struct TopK {
  at::Tensor values;   // [rows, k] float32
  at::Tensor indices;  // [rows, k] int64
};

/// values: [rows, n] float32 on the CPU, n >= k. (at::topk leaves the order of ties open.) A NaN counts as larger than
/// every number, as in libtorch, so that it is seen.
inline TopK top_k(const at::Tensor& values, std::int64_t k) {
  const at::Tensor input = values.contiguous();
  const std::int64_t rows = input.size(0), n = input.size(1);
  TopK out{at::empty({rows, k}, at::kFloat), at::empty({rows, k}, at::kLong)};
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    for (std::int64_t r = begin; r < end; ++r) {
      const float* row = input.const_data_ptr<float>() + r * n;
      const auto before = [row](std::int64_t a, std::int64_t b) {
        if (row[a] != row[a] || row[b] != row[b])
          return (row[a] != row[a]) != (row[b] != row[b]) ? row[a] != row[a] : a < b;
        return row[a] != row[b] ? row[a] > row[b] : a < b;
      };
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
      for (std::int64_t i = 0; i < k; ++i) {
        out.indices.data_ptr<std::int64_t>()[r * k + i] = order[static_cast<std::size_t>(i)];
        out.values.data_ptr<float>()[r * k + i] = row[order[static_cast<std::size_t>(i)]];
      }
    }
  });
  return out;
}

}  // namespace fpf::execution
