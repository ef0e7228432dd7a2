// Attention of models of 16 bits: queries, keys, weights and values are integers.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <fpf/portable/cache_copies.hpp>
#include <fpf/portable/integer_rows.hpp>
#include <fpf/portable/panels.hpp>
#include <fpf/portable/query_tiles.hpp>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

namespace fpf::portable {

/// Dimensions of a head: sums of so many products fit into 32 bits.
inline constexpr std::int64_t most_dimensions = 256;

/// The keys and values of one sequence's kv head as integers.
class HeadSlices {
 public:
  HeadSlices(std::int64_t positions, std::int64_t d)
      : d_(d), columns_((d + 7) / 8 * 8), panels_((d + lanes - 1) / lanes) {
    const std::int64_t blocks = (positions + span - 1) / span;
    const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
    for (auto* tile : {&key_high_, &key_low_}) tile->assign(size(blocks * span * columns_), 128);
    for (auto* tile : {&value_high_, &value_low_}) tile->assign(size(blocks * span * panels_ * lanes), 128);
    for (auto* units : {&key_units_, &value_units_}) units->assign(size(blocks * span), 0.0f);
    without_number_.assign(size(blocks), none);
  }

  /// Position p's key and value [d]; those of a block of 128 are put in ascending order, and again from any of them on.
  void put(std::int64_t p, const float* key, const float* value) {
    const IntegerLoops& loop = integer_loops();
    std::int64_t& without_number = without_number_[static_cast<std::size_t>(p / span)];
    if (without_number >= p) without_number = none;
    std::int16_t q[most_dimensions];
    const unsigned key_exponent = loop.integers(key, static_cast<int>(d_), q);
    const std::int64_t at = p / lanes * lanes * columns_;
    put_slices(q, 0, d_, p % lanes, key_high_.data() + at, key_low_.data() + at);
    const unsigned value_exponent = loop.integers(value, static_cast<int>(d_), q);
    for (std::int64_t i = 0; i < d_; ++i) {
      const std::size_t to = value_at(p, i);
      value_high_[to] = static_cast<std::uint8_t>(high_slice(q[i]) + 128);
      value_low_[to] = static_cast<std::uint8_t>(low_slice(q[i]) + 128);
    }
    key_units_[static_cast<std::size_t>(p)] = slice_unit(key_exponent, no_score);
    value_units_[static_cast<std::size_t>(p)] = slice_unit(value_exponent);
    if (key_exponent >= no_score || value_exponent >= no_number) without_number = std::min(without_number, p);
  }

  /// What is behind the last position is not read.
  void end(std::int64_t) {}

  std::int64_t columns() const { return columns_; }
  std::int64_t panels() const { return panels_; }  // of dimensions
  std::int64_t first_without_number() const { return *std::ranges::min_element(without_number_); }
  const float* key_units(std::int64_t p) const { return key_units_.data() + p; }
  const float* value_units(std::int64_t p) const { return value_units_.data() + p; }

  /// Sixteen positions from p on, [columns].
  TileOf keys(std::int64_t p) const { return {key_high_.data() + p * columns_, key_low_.data() + p * columns_}; }
  /// Sixteen dimensions of the block at p, [128 positions].
  TileOf values(std::int64_t p, std::int64_t panel) const {
    const std::size_t at = value_at(p, panel * lanes);
    return {value_high_.data() + at, value_low_.data() + at};
  }

 private:
  static constexpr std::int64_t span = integer_position_block, none = std::numeric_limits<std::int64_t>::max();

  std::size_t value_at(std::int64_t p, std::int64_t dimension) const {
    const std::int64_t in_block = p % span;
    return static_cast<std::size_t>(((p / span * panels_ + dimension / lanes) * span + in_block / 4 * 4) * lanes +
                                    4 * (dimension % lanes) + in_block % 4);
  }

  std::int64_t d_, columns_, panels_;
  std::vector<std::int64_t> without_number_;  // of each block the first, or none
  std::vector<std::uint8_t> key_high_, key_low_, value_high_, value_low_;
  std::vector<float> key_units_, value_units_;
};

using CacheSlices = CacheCopies<HeadSlices>;

namespace detail {

/// Query rows that are taken through the blocks together, with their running sums.
class IntegerQueryTile {
 public:
  /// Of up to `rows` rows.
  IntegerQueryTile(const HeadSlices& cache, std::int64_t d, float scale_log2e, std::int64_t rows)
      : cache_(cache),
        d_(d),
        scale_(scale_log2e),
        width_(cache.panels() * lanes),
        first_without_number_(cache.first_without_number()),
        queries_(rows, cache.columns(), true),
        weights_(rows, span, true) {}

  /// A row that sees the positions 0 to `position`; rows are added by ascending position.
  void add(const float* q, std::int64_t position, float* out) {
    const IntegerLoops& loop = integer_loops();
    std::vector<std::int16_t> integers(static_cast<std::size_t>(queries_.columns()), 0);
    const unsigned e = loop.integers(q, static_cast<int>(d_), integers.data());
    if (e >= no_score || position >= first_without_number_) {
      std::fill_n(out, d_, not_a_number());
      return;
    }
    positions_.push_back(position);
    outputs_.push_back(out);
    factors_.push_back(mul(mul(slice_unit(e), sliced_unit), scale_));
    query_sums_.push_back(std::accumulate(integers.begin(), integers.end(), std::int32_t{0}));
    queries_.put(std::ssize(positions_) - 1, integers.data());
  }

  void attend() {
    const std::int64_t rows = std::ssize(positions_);
    if (rows == 0) return;
    const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
    maxima_.assign(size(rows), -std::numeric_limits<float>::infinity());
    totals_.assign(size(rows), 0.0f);
    old_scales_.assign(size(rows), 0.0f);
    new_scales_ = old_scales_;
    weight_sums_.assign(size(rows), 0);
    results_.assign(size(rows * width_), 0.0f);
    dots_.resize(size(rows * lanes));
    scores_.resize(size(rows * span));
    for (std::int64_t first = 0; first <= positions_.back(); first += span) {
      const std::int64_t skipped = std::ranges::lower_bound(positions_, first) - positions_.begin();
      score(first, skipped);
      weigh(first, skipped);
      take_values(first, skipped);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t i = 0; i < d_; ++i)
        outputs_[size(r)][i] = div(results_[size(r * width_ + i)], totals_[size(r)]);
  }

 private:
  static constexpr std::int64_t span = integer_position_block;

  /// scores [rows, 128] of the rows from `skipped` on with the block's positions.
  void score(std::int64_t first, std::int64_t skipped) {
    const std::int64_t from = queries_.first_row(skipped), last = std::min(positions_.back() - first + 1, span);
    IntegerRows queries = queries_.rows();
    queries.values = queries.row(from);
    for (std::int64_t p = 0; p < last; p += lanes) {
      const TileOf keys = cache_.keys(first + p);
      integer_loops().dot({.x = queries,
                           .first = 0,
                           .count = static_cast<int>(cache_.columns()),
                           .rows = static_cast<int>(std::ssize(positions_) - from),
                           .high = keys.high,
                           .low = keys.low,
                           .sums = query_sums_.data() + from,
                           .dots = scores_.data() + from * span + p,
                           .stride = span});
    }
  }

  void weigh(std::int64_t first, std::int64_t skipped) {
    constexpr std::int64_t at_once = 4;
    std::int16_t weights[at_once][span];
    AttentionRow rows[at_once];
    for (std::int64_t begin = skipped; begin < std::ssize(positions_); begin += at_once) {
      const std::int64_t count = std::min(at_once, std::ssize(positions_) - begin);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto r = static_cast<std::size_t>(begin + i);
        rows[i] = {.count = static_cast<int>(std::min(positions_[r] - first + 1, span)),
                   .dots = scores_.data() + (begin + i) * span,
                   .key_units = cache_.key_units(first),
                   .value_units = cache_.value_units(first),
                   .factor = factors_[r],
                   .maximum = &maxima_[r],
                   .sum = &totals_[r],
                   .old_scale = &old_scales_[r],
                   .new_scale = &new_scales_[r],
                   .weights = weights[i],
                   .weight_sum = &weight_sums_[r]};
      }
      integer_loops().weigh(rows, static_cast<int>(count));
      for (std::int64_t i = 0; i < count; ++i) weights_.put(begin + i, weights[i]);
    }
  }

  void take_values(std::int64_t first, std::int64_t skipped) {
    const std::int64_t rows = std::ssize(positions_), from = weights_.first_row(skipped);
    const auto count = static_cast<int>((std::min(positions_.back() - first + 1, span) + 7) / 8 * 8);
    IntegerRows weights = weights_.rows();
    weights.values = weights.row(from);
    for (std::int64_t panel = 0; panel < cache_.panels(); ++panel) {
      const TileOf values = cache_.values(first, panel);
      integer_loops().dot({.x = weights,
                           .first = 0,
                           .count = count,
                           .rows = static_cast<int>(rows - from),
                           .high = values.high,
                           .low = values.low,
                           .sums = weight_sums_.data() + from,
                           .dots = dots_.data() + from * lanes});
      integer_loops().end_values({.rows = static_cast<int>(rows - skipped),
                                  .dots = dots_.data() + skipped * lanes,
                                  .old_scales = old_scales_.data() + skipped,
                                  .new_scales = new_scales_.data() + skipped,
                                  .results = results_.data() + skipped * width_ + panel * lanes,
                                  .stride = width_});
    }
  }

  const HeadSlices& cache_;
  std::int64_t d_;
  float scale_;
  std::int64_t width_;  // of results: d, up to whole panels
  std::int64_t first_without_number_;
  IntegerStore queries_, weights_;
  std::vector<std::int64_t> positions_;
  std::vector<float*> outputs_;
  std::vector<float> factors_;
  std::vector<std::int32_t> query_sums_, weight_sums_, dots_, scores_;
  std::vector<float> maxima_, totals_, old_scales_, new_scales_, results_;
};

}  // namespace detail

/// 1 / sqrt(d) times log2 e, rounded once from binary64.
inline float score_scale(std::int64_t d) {
  return static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(d)));
}

/// q [batch, tokens, heads, d] float32 at the positions from `begin` on -> out, as q.
inline void attend(const at::Tensor& q, const CacheSlices& cache, std::int64_t layer, const HeadsOfKv& shares,
                   std::int64_t begin, at::Tensor& out) {
  const std::int64_t d = q.size(3);
  const float* const from = q.const_data_ptr<float>();
  float* const to = out.data_ptr<float>();
  over_query_tiles(q.size(0), q.size(1), cache.pairs(layer), shares, [&](auto pair, const std::vector<QueryRow>& rows) {
    detail::IntegerQueryTile tile(cache.head(layer, pair), d, score_scale(d), std::ssize(rows));
    for (const QueryRow& row : rows) tile.add(from + row.at * d, begin + row.token, to + row.at * d);
    tile.attend();
  });
}

}  // namespace fpf::portable
