// Attention in the order that the portable execution defines: blocks of 64 positions, joined one after another.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <fpf/parallel/parallelism.hpp>
#include <fpf/portable/products.hpp>
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

/// The keys and values of one sequence's kv head in float32, position blocks whole: what is past the last position is
/// 0.
struct HeadCache {
  std::vector<float> keys;    // [blocks, 4 panels, d, 16]
  std::vector<float> values;  // [blocks * 64, padded(d)]
};

namespace detail {
/// d, up to whole registers.
inline std::int64_t padded(std::int64_t d) { return (d + lanes - 1) / lanes * lanes; }
}  // namespace detail

namespace detail {

/// Block `b` of k and v [length, d] -> a HeadCache of the right size.
inline void fill_block(const at::Tensor& k, const at::Tensor& v, std::int64_t b, HeadCache& to) {
  const std::int64_t length = k.size(0), d = k.size(1), first = b * position_block;
  const std::int64_t count = std::min<std::int64_t>(position_block, length - first);
  const auto element = static_cast<std::int64_t>(k.element_size());
  std::vector<float> rows(static_cast<std::size_t>(position_block * d), 0.0f);
  const auto read = [&](const at::Tensor& t, float* out, std::int64_t stride) {
    const auto* from = static_cast<const std::byte*>(t.const_data_ptr());
    for (std::int64_t p = 0; p < count; ++p)
      widen(from + (first + p) * t.stride(0) * element, t.scalar_type(), d, out + p * stride);
  };
  read(k, rows.data(), d);
  float* const panels = to.keys.data() + first * d;
  for (std::int64_t p = 0; p < position_block; p += lanes)
    for (std::int64_t i = 0; i < d; ++i)
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        panels[(p / lanes * d + i) * lanes + lane] = rows[static_cast<std::size_t>((p + lane) * d + i)];
  float* const values = to.values.data() + first * padded(d);
  std::fill_n(values, position_block * padded(d), 0.0f);
  read(v, values, padded(d));
}

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
    const auto rows = static_cast<std::int64_t>(q.size()) - skipped;
    const Segments segments(d);
    panel.resize(static_cast<std::size_t>(segments.count * rows * lanes));
    for (std::int64_t p = 0; p < position_block; p += lanes) {
      const float* const keys = cache.keys.data() + (first + p) * d;
      for (std::int64_t s = 0; s < segments.count; ++s) {
        const std::int64_t at = s * segments.columns, width = std::min(segments.columns, d - at);
        loops().chain(
            {q.data() + skipped, at, static_cast<int>(rows), keys + at * lanes, lanes, static_cast<int>(width), block},
            panel.data() + s * rows * lanes);
      }
      add_segment_rows(panel.data(), segments.count, rows * lanes);
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t seen = positions[static_cast<std::size_t>(skipped + r)] - first - p + 1;
        float* const to = scores.data() + (skipped + r) * position_block + p;
        for (std::int64_t lane = 0; lane < lanes; ++lane)
          to[lane] = lane < seen ? mul(panel[static_cast<std::size_t>(r * lanes + lane)], scale)
                                 : -std::numeric_limits<float>::infinity();
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
    panel.resize(static_cast<std::size_t>(rows * lanes));
    for (std::int64_t i = 0; i < d; i += lanes) {
      loop.chain({weights.data(), 0, static_cast<int>(rows), cache.values.data() + first * padded(d) + i, padded(d),
                  position_block, position_block},
                 panel.data());
      for (std::int64_t r = 0; r < rows; ++r)
        loop.join(sums.data() + (skipped + r) * padded(d) + i, panel.data() + r * lanes,
                  old_scales[static_cast<std::size_t>(r)], new_scales[static_cast<std::size_t>(r)], lanes);
    }
  }
};

}  // namespace detail

/// q [batch, tokens, heads, d] float32 at the positions from `begin` on; k and v [batch, kv_heads, begin + tokens, d] views
/// of the cache -> out, as q. Head h reads kv head h / (heads / kv_heads).
inline void attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const parallel::HeadsOfKv& shares,
                   float scale, at::Tensor& out) {
  const std::int64_t batch = q.size(0), tokens = q.size(1), heads = q.size(2), d = q.size(3), kv_heads = k.size(1);
  const std::int64_t length = k.size(2), begin = length - tokens;
  const std::int64_t blocks = (length + position_block - 1) / position_block, pairs = batch * kv_heads;
  std::vector<HeadCache> caches(static_cast<std::size_t>(pairs));
  for (HeadCache& cache : caches) {
    cache.keys.resize(static_cast<std::size_t>(blocks * position_block * d));
    cache.values.resize(static_cast<std::size_t>(blocks * position_block * detail::padded(d)));
  }
  at::parallel_for(0, pairs * blocks, 4, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t task = first; task < end; ++task) {
      const std::int64_t pair = task / blocks, b = pair / kv_heads, h = pair % kv_heads;
      detail::fill_block(k[b][h], v[b][h], task % blocks, caches[static_cast<std::size_t>(pair)]);
    }
  });
  const std::int64_t queries = std::max<std::int64_t>(1, 48 / shares.group), tiles = (tokens + queries - 1) / queries;
  const float* const from = q.const_data_ptr<float>();
  float* const to = out.data_ptr<float>();
  at::parallel_for(0, pairs * tiles, 1, [&](std::int64_t first, std::int64_t end) {
    detail::QueryTile tile;
    for (std::int64_t task = first; task < end; ++task) {
      const std::int64_t pair = task / tiles, b = pair / kv_heads, h = pair % kv_heads;
      const std::int64_t from_token = task % tiles * queries, to_token = std::min(from_token + queries, tokens);
      const Range own = shares.of(h);
      const auto row = [&](std::int64_t token, std::int64_t head) {
        return ((b * tokens + token) * heads + head) * d;
      };
      tile.q.clear();
      tile.positions.clear();
      for (std::int64_t token = from_token; token < to_token; ++token)
        for (std::int64_t head = own.begin; head < own.end; ++head) {
          tile.q.push_back(from + row(token, head));
          tile.positions.push_back(begin + token);
        }
      tile.attend(caches[static_cast<std::size_t>(pair)], d, scale);
      const float* sums = tile.sums.data();
      for (std::int64_t token = from_token; token < to_token; ++token)
        for (std::int64_t head = own.begin; head < own.end; ++head, sums += detail::padded(d))
          std::copy_n(sums, d, to + row(token, head));
    }
  });
}

}  // namespace fpf::portable
