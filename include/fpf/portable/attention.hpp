// Attention in the order that the portable execution defines: blocks of 64 positions, joined one after another.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <fpf/portable/cache_copies.hpp>
#include <fpf/portable/products.hpp>
#include <fpf/portable/query_tiles.hpp>
#include <limits>
#include <vector>

namespace fpf::portable {

/// float32 -> float32, bfloat16 or float16, to nearest even, subnormals kept (libtorch's own conversion may use an
/// instruction that does not keep them).
inline at::Tensor narrowed(const at::Tensor& values, at::ScalarType type) {
  if (type == at::kFloat) return values;
  const at::Tensor in = values.contiguous();
  at::Tensor out = at::empty(in.sizes(), in.options().dtype(type));
  const float* const from = in.const_data_ptr<float>();
  auto* const to = static_cast<std::uint16_t*>(out.data_ptr());
  at::parallel_for(0, in.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      to[i] = type == at::kHalf ? float16_from_float32(from[i]) : bfloat16_from_float32(from[i]);
  });
  return out;
}

namespace detail {
/// d, up to whole registers.
inline std::int64_t padded(std::int64_t d) { return (d + lanes - 1) / lanes * lanes; }
}  // namespace detail

/// The keys and values of one sequence's kv head in float32, position blocks whole; values past the last position are
/// 0.
class HeadCache {
 public:
  HeadCache(std::int64_t positions, std::int64_t d) : d_(d) {
    const std::int64_t whole = (positions + position_block - 1) / position_block * position_block;
    keys_.assign(static_cast<std::size_t>(whole * d), 0.0f);
    values_.assign(static_cast<std::size_t>(whole * detail::padded(d)), 0.0f);
  }

  void put(std::int64_t p, const float* key, const float* value) {
    float* const panel = keys_.data() + p / lanes * lanes * d_ + p % lanes;
    for (std::int64_t i = 0; i < d_; ++i) panel[i * lanes] = key[i];
    std::copy_n(value, d_, values_.data() + p * detail::padded(d_));
  }
  void end(std::int64_t p) {
    const std::int64_t block_end = (p + position_block - 1) / position_block * position_block;
    std::fill_n(values_.data() + p * detail::padded(d_), (block_end - p) * detail::padded(d_), 0.0f);
  }

  /// Sixteen positions from p on, [d, 16].
  const float* keys(std::int64_t p) const { return keys_.data() + p * d_; }
  /// Positions from p on, [positions, padded(d)].
  const float* values(std::int64_t p) const { return values_.data() + p * detail::padded(d_); }

 private:
  std::int64_t d_;
  std::vector<float> keys_, values_;
};

using CacheFloats = CacheCopies<HeadCache>;

namespace detail {

/// Query rows that are taken through the blocks together, with their running sums.
struct QueryTile {
  RowPointers q;                           // [rows] of d
  std::vector<std::int64_t> positions;     // [rows]: each sees 0..position
  std::vector<float> maxima, weight_sums;  // [rows]
  std::vector<float> sums;                 // [rows, padded(d)]

  void attend(const HeadCache& cache, std::int64_t d, float scale) {
    const auto rows = static_cast<std::int64_t>(q.size());
    const Loops& loop = loops();
    maxima.assign(q.size(), -std::numeric_limits<float>::infinity());
    weight_sums.assign(q.size(), 0.0f);
    sums.assign(static_cast<std::size_t>(rows * padded(d)), 0.0f);
    std::vector<float> scores(static_cast<std::size_t>(rows * position_block)), panel(scores.size());
    const std::int64_t last = *std::max_element(positions.begin(), positions.end());
    for (std::int64_t first = 0; first <= last; first += position_block) {
      const std::int64_t skipped =
          std::find_if(positions.begin(), positions.end(), [&](auto p) { return p >= first; }) - positions.begin();
      score(cache, first, skipped, d, scale, scores, panel);
      weigh(cache, first, skipped, d, scores, panel, loop);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t i = 0; i < d; ++i) {
        float& value = sums[static_cast<std::size_t>(r * padded(d) + i)];
        value = div(value, weight_sums[static_cast<std::size_t>(r)]);
      }
  }

 private:
  /// scores [rows, 64] of the block at `first`; -infinity where a row does not see a position. Positions ascend, and
  /// rows before `skipped` see none.
  void score(const HeadCache& cache, std::int64_t first, std::int64_t skipped, std::int64_t d, float scale,
             std::vector<float>& scores, std::vector<float>& panel) const {
    const auto rows = static_cast<std::int64_t>(q.size()) - skipped, width = 2 * rows * lanes;
    const Segments segments(d);
    panel.resize(static_cast<std::size_t>(segments.count * width));
    for (std::int64_t p = 0; p < position_block; p += 2 * lanes) {
      const float* const keys = cache.keys(first + p);
      for (std::int64_t s = 0; s < segments.count; ++s) {
        const std::int64_t at = s * segments.columns, columns = std::min(segments.columns, d - at);
        const float* const w = keys + at * lanes;
        loops().chain(
            {q.data() + skipped, at, static_cast<int>(rows), w, lanes, static_cast<int>(columns), block, w + d * lanes},
            panel.data() + s * width);
      }
      add_segment_rows(panel.data(), segments.count, width);
      for (std::int64_t half = 0; half < 2; ++half)
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t at = p + half * lanes,
                             seen = positions[static_cast<std::size_t>(skipped + r)] - first - at + 1;
          const float* const from = panel.data() + (half * rows + r) * lanes;
          float* const to = scores.data() + (skipped + r) * position_block + at;
          for (std::int64_t lane = 0; lane < lanes; ++lane)
            to[lane] = lane < seen ? mul(from[lane], scale) : -std::numeric_limits<float>::infinity();
        }
    }
  }

  /// Exponentials of the block's scores, and the values that they weigh, into the running sums.
  void weigh(const HeadCache& cache, std::int64_t first, std::int64_t skipped, std::int64_t d,
             std::vector<float>& scores, std::vector<float>& panel, const Loops& loop) {
    const auto rows = static_cast<std::int64_t>(q.size()) - skipped;
    std::vector<float> old_scales(static_cast<std::size_t>(rows)), new_scales(old_scales);
    std::vector<float> block_sums(old_scales), block_maxima(old_scales);
    float* const p = scores.data() + skipped * position_block;
    loop.softmax_block(p, rows, block_maxima.data(), block_sums.data());
    loop.join_softmaxes({rows, maxima.data() + skipped, weight_sums.data() + skipped, block_maxima.data(),
                         block_sums.data(), old_scales.data(), new_scales.data()});
    const RowPointers weights = row_pointers(p, rows, position_block);
    panel.resize(static_cast<std::size_t>(2 * rows * lanes));
    for (std::int64_t i = 0; i < d; i += 2 * lanes) {
      const float* const values = cache.values(first) + i;
      const bool two = i + lanes < padded(d);
      loop.chain({weights.data(), 0, static_cast<int>(rows), values, padded(d), position_block, position_block,
                  two ? values + lanes : nullptr},
                 panel.data());
      for (std::int64_t half = 0; half < (two ? 2 : 1); ++half)
        for (std::int64_t r = 0; r < rows; ++r)
          loop.join(sums.data() + (skipped + r) * padded(d) + i + half * lanes,
                    panel.data() + (half * rows + r) * lanes, old_scales[static_cast<std::size_t>(r)],
                    new_scales[static_cast<std::size_t>(r)], lanes);
    }
  }
};

}  // namespace detail

/// q [batch, tokens, heads, d] float32 at the positions from `begin` on -> out, as q.
inline void attend(const at::Tensor& q, const CacheFloats& cache, std::int64_t layer, const HeadsOfKv& shares,
                   std::int64_t begin, at::Tensor& out) {
  const std::int64_t d = q.size(3);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  const float* const from = q.const_data_ptr<float>();
  float* const to = out.data_ptr<float>();
  over_query_tiles(q.size(0), q.size(1), cache.pairs(layer), shares, [&](auto pair, const std::vector<QueryRow>& rows) {
    detail::QueryTile tile;
    for (const QueryRow& row : rows) {
      tile.q.push_back(from + row.at * d);
      tile.positions.push_back(begin + row.token);
    }
    tile.attend(cache.head(layer, pair), d, scale);
    const float* sums = tile.sums.data();
    for (const QueryRow& row : rows) {
      std::copy_n(sums, d, to + row.at * d);
      sums += detail::padded(d);
    }
  });
}

}  // namespace fpf::portable
