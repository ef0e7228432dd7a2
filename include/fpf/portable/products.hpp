// Matrix products as the portable execution defines them: chains of floats in blocks of 32, segments and a tree, or
// groups of exact integers.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fpf/portable/integer_rows.hpp>
#include <fpf/portable/panels.hpp>
#include <fpf/portable/tasks.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
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
  explicit Segments(std::int64_t k) : columns(segment_columns(k)), count((k + columns - 1) / columns) {}
};

/// Adds up the segments' sums, [segments, width]: the first becomes their tree.
inline void add_segment_rows(float* sums, std::int64_t segments, std::int64_t width) {
  for (std::int64_t step = 1; step < segments; step *= 2)
    for (std::int64_t i = 0; i + step < segments; i += 2 * step)
      loops().add_all(sums + i * width, sums + (i + step) * width, width);
}

/// A bias [width] onto each of `rows` rows.
inline void add_to_rows(float* rows_of, std::int64_t rows, std::int64_t width, const float* bias) {
  if (width == 0) return;
  at::parallel_for(0, rows, std::max<std::int64_t>(1, 16384 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t i = 0; i < width; ++i) rows_of[r * width + i] = add(rows_of[r * width + i], bias[i]);
  });
}

/// Rows of activations as integers, in a matrix's order of columns.
class SlicedRows {
 public:
  SlicedRows(const RowPointers& x, const Columns& columns) : SlicedRows(std::ssize(x), columns) {
    const std::int64_t stored = values_.columns();
    at::parallel_for(0, std::ssize(x), std::max<std::int64_t>(1, 16384 / stored), [&](auto begin, auto end) {
      std::vector<std::int16_t> q(static_cast<std::size_t>(stored));
      for (auto r = begin; r < end; ++r) slice(x[static_cast<std::size_t>(r)], r, columns, q);
    });
  }

  /// Rows `rows` of it.
  SlicedRows picked(std::span<const std::int64_t> rows, const Columns& columns) const {
    SlicedRows out(std::ssize(rows), columns);
    for (std::int64_t r = 0; r < std::ssize(rows); ++r) {
      const std::int64_t from = rows[static_cast<std::size_t>(r)];
      out.values_.copy(values_, from, r);
      std::copy_n(units_.begin() + from * blocks_, blocks_, out.units_.begin() + r * blocks_);
      std::copy_n(sums_.begin() + from * eights_, eights_, out.sums_.begin() + r * eights_);
    }
    return out;
  }

  const IntegerStore& values() const { return values_; }
  float unit(std::int64_t r, std::int64_t b) const { return units_[static_cast<std::size_t>(r * blocks_ + b)]; }
  /// Of a group's integers.
  std::int32_t sum(std::int64_t r, const ColumnGroup& group) const {
    const auto at = [&](std::int64_t column) { return sums_.begin() + r * eights_ + column / 8; };
    return std::accumulate(at(group.begin), at(group.end), std::int32_t{0});
  }

 private:
  SlicedRows(std::int64_t count, const Columns& columns)
      : blocks_(columns.blocks()), eights_(columns.stored / 8), values_(count, columns.stored, columns.fit_tiles()) {
    units_.resize(static_cast<std::size_t>(count * blocks_));
    sums_.resize(static_cast<std::size_t>(count * eights_));
  }

  void slice(const float* x, std::int64_t r, const Columns& columns, std::vector<std::int16_t>& q) {
    std::fill(q.begin(), q.end(), std::int16_t{0});
    for (std::int64_t b = 0; b < blocks_; ++b) {
      const std::int64_t begin = columns.block_begin[static_cast<std::size_t>(b)];
      const std::int64_t end = columns.block_begin[static_cast<std::size_t>(b) + 1];
      unsigned e = 0;
      if (columns.order.empty()) {
        const auto count = static_cast<int>(std::min(end, columns.inputs) - begin);
        e = integer_loops().integers(x + begin, count, q.data() + begin);
      } else {
        e = slice_picked(x, begin, end, columns, q);
      }
      units_[static_cast<std::size_t>(r * blocks_ + b)] = slice_unit(e);
    }
    for (std::int64_t i = 0; i < eights_; ++i) {
      const auto eight = q.begin() + 8 * i;
      sums_[static_cast<std::size_t>(r * eights_ + i)] = std::accumulate(eight, eight + 8, std::int32_t{0});
    }
    values_.put(r, q.data());
  }

  /// A block whose columns are not x's in their order; columns that no input stands at stay zeros. -> its exponent.
  static unsigned slice_picked(const float* x, std::int64_t begin, std::int64_t end, const Columns& columns,
                               std::vector<std::int16_t>& q) {
    std::vector<float> picked;
    for (std::int64_t column = begin; column < end; ++column)
      if (const std::int64_t input = columns.input(column); input >= 0) picked.push_back(x[input]);
    std::int16_t integers[slice_block];
    const unsigned e = integer_loops().integers(picked.data(), static_cast<int>(picked.size()), integers);
    const std::int16_t* from = integers;
    for (std::int64_t column = begin; column < end; ++column)
      if (columns.input(column) >= 0) q[static_cast<std::size_t>(column)] = *from++;
    return e;
  }

  std::int64_t blocks_, eights_;
  IntegerStore values_;
  std::vector<float> units_;
  std::vector<std::int32_t> sums_;  // of eight columns each
};

namespace detail {

/// f(first, end) of panels in parallel, an even number at a time: as many as are worth a thread's time.
template <class F>
void over_panels(const Panels& m, std::int64_t rows, F f) {
  const std::int64_t worth = (1 << 17) / (rows * m.k * lanes), share = m.panels() / (4 * at::get_num_threads());
  const std::int64_t each = std::max<std::int64_t>(2, std::max(worth, share) / 2 * 2);
  as_threads_are_free((m.panels() + each - 1) / each,
                      [&](std::int64_t task) { f(task * each, std::min(m.panels(), (task + 1) * each)); });
}

inline void copy_results(const float* from, std::int64_t rows, const Panels& m, std::int64_t panel, float* out,
                         std::int64_t stride) {
  const std::int64_t columns = std::min<std::int64_t>(lanes, m.n - panel * lanes);
  float* const to = out + panel * lanes;
  if (columns < lanes) {
    for (std::int64_t r = 0; r < rows; ++r) std::copy_n(from + r * lanes, columns, to + r * stride);
  } else {
    for (std::int64_t r = 0; r < rows; ++r) std::memcpy(to + r * stride, from + r * lanes, sizeof(float) * lanes);
  }
}

/// Chains over columns as they stand in the matrix; two panels at a time, so that a row's value serves both.
inline void chain_product(const RowPointers& x, const Panels& m, float* out, std::int64_t stride) {
  const auto rows = static_cast<std::int64_t>(x.size());
  const std::int64_t most_rows = std::clamp<std::int64_t>((1 << 17) / m.k / 12 * 12, 24, 96);  // in the second cache
  const Loops& loop = loops();
  const Segments segments(m.k);
  over_panels(m, rows, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t both = 2 * std::min(rows, most_rows) * lanes;
    std::vector<float> scratch, more_scratch, sums(static_cast<std::size_t>(segments.count * both));
    for (std::int64_t row = 0; row < rows; row += most_rows)
      for (std::int64_t panel = begin; panel < end; panel += 2) {
        const std::int64_t count = std::min(most_rows, rows - row), panels = std::min<std::int64_t>(2, end - panel);
        const std::int64_t width = panels * count * lanes;
        std::int64_t group = 0;
        for (std::int64_t s = 0; s < segments.count; ++s) {
          const std::int64_t first = s * segments.columns, columns = std::min(segments.columns, m.k - first);
          std::int64_t more_group = group;
          const float* const more =
              panels == 2 ? m.floats(panel + 1, first, columns, more_group, more_scratch) : nullptr;
          const float* const w = m.floats(panel, first, columns, group, scratch);
          loop.chain({x.data() + row, first, static_cast<int>(count), w, lanes, static_cast<int>(columns), block, more},
                     sums.data() + s * width);
        }
        add_segment_rows(sums.data(), segments.count, width);
        for (std::int64_t p = 0; p < panels; ++p)
          copy_results(sums.data() + p * count * lanes, count, m, panel + p, out + row * stride, stride);
      }
  });
}

/// The same for columns in an order of their own.
inline void ordered_chain_product(const RowPointers& x, const Panels& m, float* out, std::int64_t stride) {
  std::vector<float> picked(x.size() * static_cast<std::size_t>(m.k));
  for (std::size_t r = 0; r < x.size(); ++r)
    for (std::int64_t k = 0; k < m.k; ++k)
      picked[r * static_cast<std::size_t>(m.k) + static_cast<std::size_t>(k)] = x[r][m.columns.input(k)];
  chain_product(row_pointers(picked.data(), std::ssize(x), m.k), m, out, stride);
}

}  // namespace detail

/// A matrix of integers, group by group.
class IntegerProduct {
 public:
  IntegerProduct(const SlicedRows& x, const Panels& m)
      : x_(x), m_(m), stride_(x.values().padded()), count_(x.values().count()) {
    const bool codes = m.kind == Panels::Kind::int4 || m.kind == Panels::Kind::bytes;
    if (m.zeros.defined() + m.minima.defined() != (codes ? 1 : 0))
      throw std::logic_error("codes have zeros or minima, slices none");
    const auto size = static_cast<std::size_t>(stride_ * m.columns.count());
    sums_.assign(size, 0);
    units_.assign(size, 0.0f);
    at::parallel_for(0, m.columns.count(), std::max<std::int64_t>(1, 4096 / count_), [&](auto begin, auto end) {
      for (auto group = begin; group < end; ++group)
        for (std::int64_t r = 0; r < count_; ++r) {
          const ColumnGroup& columns = m.columns.groups[static_cast<std::size_t>(group)];
          const auto at = static_cast<std::size_t>(group * stride_ + r);
          sums_[at] = x.sum(r, columns);
          units_[at] = x.unit(r, columns.block);
        }
    });
    if (m.kind == Panels::Kind::map) slice_map();
  }

  /// out[r * stride + row of m] for every row of x. In parallel over panels.
  void operator()(float* out, std::int64_t stride) const {
    const std::int64_t most_rows = rows_at_once();
    detail::over_panels(m_, count_, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> results;
      std::vector<std::uint8_t> scratch(2 * columns_at_once * lanes);
      for (std::int64_t row = 0; row < count_; row += most_rows)
        for (std::int64_t panel = begin; panel < end; ++panel) {
          const std::int64_t count = std::min(most_rows, count_ - row);
          results.assign(static_cast<std::size_t>(std::min(most_rows, stride_ - row) * lanes), 0.0f);
          for (std::int64_t group = 0; group < m_.columns.count();)
            group = add_groups(panel, group, row, count, scratch, results.data());
          detail::copy_results(results.data(), count, m_, panel, out + row * stride, stride);
        }
    });
  }

 private:
  static constexpr std::int64_t columns_at_once = 512;  // their tiles stay in the first cache, while rows pass

  /// Rows that stay in the second cache, while panels pass.
  std::int64_t rows_at_once() const {
    if (!x_.values().rows().tiled) return GroupedProduct::most_rows;
    return std::max<std::int64_t>(1, (1 << 18) / (tile_rows * x_.values().rows().columns)) * tile_rows;
  }

  /// A panel's groups from `group` on, as many as are taken at once, onto results. -> the next group.
  std::int64_t add_groups(std::int64_t panel, std::int64_t group, std::int64_t row, std::int64_t count,
                          std::vector<std::uint8_t>& scratch, float* results) const {
    const std::vector<ColumnGroup>& all = m_.columns.groups;
    const ColumnGroup* const first = all.data() + group;
    std::int64_t end = group + 1;
    while (end < m_.columns.count() && all[static_cast<std::size_t>(end)].end - first->begin <= columns_at_once) ++end;
    const auto width = static_cast<int>(all[static_cast<std::size_t>(end) - 1].end - first->begin);
    const TileOf tile = tile_of(panel, *first, width, scratch);
    const std::int64_t side = m_.side(panel, group), at = group * stride_ + row;
    IntegerRows x = x_.values().rows();
    x.values = x.row(row);
    integer_loops().product({.x = x,
                             .rows = static_cast<int>(count),
                             .groups = first,
                             .count = static_cast<int>(end - group),
                             .high = tile.high,
                             .low = tile.low,
                             .sums = sums_.data() + at,
                             .units = units_.data() + at,
                             .stride = stride_,
                             .scales = m_.scales.const_data_ptr<float>() + side,
                             .zeros = m_.zeros.defined() ? m_.zeros.const_data_ptr<std::uint8_t>() + side : nullptr,
                             .minima = m_.minima.defined() ? m_.minima.const_data_ptr<float>() + side : nullptr,
                             .results = results});
    return end;
  }

  /// `width` columns from a group's first on.
  TileOf tile_of(std::int64_t panel, const ColumnGroup& first, int width, std::vector<std::uint8_t>& scratch) const {
    const IntegerLoops& loop = integer_loops();
    const std::int64_t at = (panel * m_.columns.stored + first.begin) * lanes;
    const std::uint8_t* const values = m_.values.const_data_ptr<std::uint8_t>();
    switch (m_.kind) {
      case Panels::Kind::int4:
        loop.unpack_codes(values + at / 2, width, scratch.data());
        return {scratch.data(), nullptr};
      case Panels::Kind::map: {
        std::uint8_t* const low = scratch.data() + columns_at_once * lanes;
        loop.unpack_map(values + at / 2, width, map_high_.data(), map_low_.data(), scratch.data(), low);
        return {scratch.data(), low};
      }
      case Panels::Kind::bytes:
        return {values + at, nullptr};
      case Panels::Kind::slices:
        return {values + at, m_.low.const_data_ptr<std::uint8_t>() + at};
      case Panels::Kind::dense:
        break;
    }
    throw std::logic_error("a matrix of floats has no integers");
  }

  void slice_map() {
    const std::array<std::int16_t, 16> integers = map_integers(m_.map);
    for (std::size_t i = 0; i < 16; ++i) {
      map_high_[i] = static_cast<std::uint8_t>(high_slice(integers[i]) + 128);
      map_low_[i] = static_cast<std::uint8_t>(low_slice(integers[i]) + 128);
    }
  }

  const SlicedRows& x_;
  const Panels& m_;
  std::int64_t stride_, count_;
  std::vector<std::int32_t> sums_;  // [groups, rows]
  std::vector<float> units_;        // [groups, rows]
  std::array<std::uint8_t, 16> map_high_{}, map_low_{};
};

/// Rows of activations that products read: as floats, and as integers where one needs them, sliced once.
class Inputs {
 public:
  explicit Inputs(RowPointers rows) : rows_(std::move(rows)) {}
  Inputs(const float* first, std::int64_t rows, std::int64_t stride) : Inputs(row_pointers(first, rows, stride)) {}
  /// Rows `picked` of `all`, which outlives it.
  Inputs(const Inputs& all, std::vector<std::int64_t> picked) : all_(&all), picked_(std::move(picked)) {
    for (const std::int64_t r : picked_) rows_.push_back(all.rows_[static_cast<std::size_t>(r)]);
  }

  std::int64_t rows() const { return std::ssize(rows_); }

  /// out[r * stride + row of m] = x[r] . m
  void product(const Panels& m, float* out, std::int64_t stride) const {
    if (rows_.empty()) return;
    if (m.arithmetic == Arithmetic::integers)
      return m.columns.order.empty() ? IntegerProduct(sliced(m.columns), m)(out, stride)
                                     : IntegerProduct(SlicedRows(rows_, m.columns), m)(out, stride);
    return m.columns.order.empty() ? detail::chain_product(rows_, m, out, stride)
                                   : detail::ordered_chain_product(rows_, m, out, stride);
  }

 private:
  /// For columns as they come, all of which are cut into the same blocks.
  const SlicedRows& sliced(const Columns& columns) const {
    std::optional<SlicedRows>& out = sliced_[columns.fit_tiles() ? 1 : 0];
    if (!out)
      out.emplace(all_ == nullptr ? SlicedRows(rows_, columns) : all_->sliced(columns).picked(picked_, columns));
    return *out;
  }

  const Inputs* all_ = nullptr;
  std::vector<std::int64_t> picked_;
  RowPointers rows_;
  mutable std::array<std::optional<SlicedRows>, 2> sliced_;  // of columns that fit tiles or do not
};

}  // namespace fpf::portable
