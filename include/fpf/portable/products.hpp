// Matrix products in the order that the portable execution defines: blocks of 32 in one chain each, segments, a tree.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <fpf/portable/panels.hpp>
#include <span>
#include <vector>

namespace fpf::portable {

/// Rows of float32 by their addresses: of one tensor, or picked from it.
using RowPointers = std::vector<const float*>;

inline RowPointers row_pointers(const float* first, std::int64_t rows, std::int64_t stride) {
  RowPointers out(static_cast<std::size_t>(rows));
  for (std::int64_t r = 0; r < rows; ++r) out[static_cast<std::size_t>(r)] = first + r * stride;
  return out;
}

/// How a reduction over k columns is cut.
struct Segments {
  std::int64_t columns, count;  // of each but the last; how many
  explicit Segments(std::int64_t k) : Segments(k, segment_columns(k)) {}
  Segments(std::int64_t k, std::int64_t each) : columns(each), count((k + each - 1) / each) {}
};

/// Adds up the segments' sums, [segments, width]: the first becomes their tree.
inline void add_segment_rows(float* sums, std::int64_t segments, std::int64_t width) {
  for (std::int64_t step = 1; step < segments; step *= 2)
    for (std::int64_t i = 0; i + step < segments; i += 2 * step) {
      float* const to = sums + i * width;
      const float* const other = sums + (i + step) * width;
      for (std::int64_t e = 0; e < width; ++e) to[e] = add(to[e], other[e]);
    }
}

/// A bias [width] onto each of `rows` rows.
inline void add_to_rows(float* rows_of, std::int64_t rows, std::int64_t width, const float* bias) {
  at::parallel_for(0, rows, std::max<std::int64_t>(1, 16384 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t i = 0; i < width; ++i) rows_of[r * width + i] = add(rows_of[r * width + i], bias[i]);
  });
}

/// out[r * stride + row of m] = x[r] . m, for every row r. In parallel over panels.
inline void product(const RowPointers& x, const Panels& m, float* out, std::int64_t stride) {
  constexpr std::int64_t most_rows = 384;  // at once: their sums stay in the second cache
  const auto rows = static_cast<std::int64_t>(x.size());
  if (rows == 0) return;
  if (!m.order.empty()) {
    std::vector<float> picked(static_cast<std::size_t>(rows * m.k));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t k = 0; k < m.k; ++k)
        picked[static_cast<std::size_t>(r * m.k + k)] =
            x[static_cast<std::size_t>(r)][m.order[static_cast<std::size_t>(k)]];
    Panels ordered = m;
    ordered.order.clear();
    return product(row_pointers(picked.data(), rows, m.k), ordered, out, stride);
  }
  const Loops& loop = loops();
  const Segments segments(m.k, m.segment);
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 17) / (rows * m.k * lanes));
  at::parallel_for(0, m.panels(), grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch, sums(static_cast<std::size_t>(segments.count * std::min(rows, most_rows) * lanes));
    for (std::int64_t panel = begin; panel < end; ++panel) {
      const std::int64_t columns = std::min<std::int64_t>(lanes, m.n - panel * lanes);
      for (std::int64_t row = 0; row < rows; row += most_rows) {
        const std::int64_t count = std::min(most_rows, rows - row);
        std::int64_t group = 0;
        for (std::int64_t s = 0; s < segments.count; ++s) {
          const std::int64_t first = s * segments.columns, width = std::min(segments.columns, m.k - first);
          const float* const w = m.columns(panel, first, width, group, scratch);
          loop.chain({x.data() + row, first, static_cast<int>(count), w, lanes, static_cast<int>(width), block},
                     sums.data() + s * count * lanes);
        }
        add_segment_rows(sums.data(), segments.count, count * lanes);
        for (std::int64_t r = 0; r < count; ++r)
          std::copy_n(sums.data() + r * lanes, columns, out + (row + r) * stride + panel * lanes);
      }
    }
  });
}

}  // namespace fpf::portable
