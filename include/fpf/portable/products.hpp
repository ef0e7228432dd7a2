// Matrix products as the portable execution defines them: chains of floats in blocks of 32, segments and a tree, or groups of
// exact integers.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <fpf/portable/panels.hpp>
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

/// Rows of activations as integers, in a matrix's order of columns.
class SlicedRows {
 public:
  SlicedRows(const RowPointers& x, const Columns& columns)
      : columns_(columns.stored), blocks_(columns.blocks()), chunks_(columns.stored / 8) {
    const IntegerLoops& loop = integer_loops();
    row_bytes_ = columns_ * loop.column_bytes;
    values_.resize(x.size() * static_cast<std::size_t>(row_bytes_));
    units_.resize(x.size() * static_cast<std::size_t>(blocks_));
    sums_.resize(x.size() * static_cast<std::size_t>(chunks_));
    at::parallel_for(0, std::ssize(x), std::max<std::int64_t>(1, 16384 / columns_), [&](auto begin, auto end) {
      std::vector<std::int16_t> q(static_cast<std::size_t>(columns_));
      for (auto r = begin; r < end; ++r) slice(x[static_cast<std::size_t>(r)], r, columns, loop, q);
    });
  }

  std::int64_t columns() const { return columns_; }
  const std::byte* row(std::int64_t r) const { return values_.data() + r * row_bytes_; }
  float unit(std::int64_t r, std::int64_t b) const { return units_[static_cast<std::size_t>(r * blocks_ + b)]; }
  /// Of a group's integers.
  std::int32_t sum(std::int64_t r, const ColumnGroup& group) const {
    const auto at = [&](std::int64_t column) { return sums_.begin() + r * chunks_ + column / 8; };
    return std::accumulate(at(group.begin), at(group.end), std::int32_t{0});
  }

 private:
  void slice(const float* x, std::int64_t r, const Columns& columns, const IntegerLoops& loop,
             std::vector<std::int16_t>& q) {
    std::fill(q.begin(), q.end(), std::int16_t{0});
    for (std::int64_t b = 0; b < blocks_; ++b) {
      const std::int64_t begin = columns.block_begin[static_cast<std::size_t>(b)];
      const std::int64_t end = columns.block_begin[static_cast<std::size_t>(b) + 1];
      unsigned e = 0;
      if (columns.order.empty()) {
        e = loop.integers(x + begin, static_cast<int>(std::min(end, columns.inputs) - begin), q.data() + begin);
      } else {
        e = slice_picked(x, begin, end, columns, loop, q);
      }
      units_[static_cast<std::size_t>(r * blocks_ + b)] = slice_unit(e);
    }
    for (std::int64_t chunk = 0; chunk < chunks_; ++chunk) {
      const auto eight = q.begin() + 8 * chunk;
      sums_[static_cast<std::size_t>(r * chunks_ + chunk)] = std::accumulate(eight, eight + 8, std::int32_t{0});
    }
    loop.spread(q.data(), columns_, values_.data() + r * row_bytes_);
  }

  /// A block whose columns are not x's in their order; columns that no input stands at stay zeros. -> its exponent.
  static unsigned slice_picked(const float* x, std::int64_t begin, std::int64_t end, const Columns& columns,
                               const IntegerLoops& loop, std::vector<std::int16_t>& q) {
    std::vector<float> picked;
    for (std::int64_t column = begin; column < end; ++column)
      if (const std::int64_t input = columns.input(column); input >= 0) picked.push_back(x[input]);
    std::int16_t integers[slice_block];
    const unsigned e = loop.integers(picked.data(), static_cast<int>(picked.size()), integers);
    const std::int16_t* from = integers;
    for (std::int64_t column = begin; column < end; ++column)
      if (columns.input(column) >= 0) q[static_cast<std::size_t>(column)] = *from++;
    return e;
  }

  std::int64_t columns_, blocks_, chunks_, row_bytes_ = 0;
  std::vector<std::byte> values_;
  std::vector<float> units_;
  std::vector<std::int32_t> sums_;  // of eight columns each
};

namespace detail {

/// Panels in parallel, as many at a time as are worth a thread.
template <class F>
void over_panels(const Panels& m, std::int64_t rows, F f) {
  at::parallel_for(0, m.panels(), std::max<std::int64_t>(1, (1 << 17) / (rows * m.k * lanes)), f);
}

inline void copy_results(const float* from, std::int64_t rows, const Panels& m, std::int64_t panel, float* out,
                         std::int64_t stride) {
  const std::int64_t columns = std::min<std::int64_t>(lanes, m.n - panel * lanes);
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(from + r * lanes, columns, out + r * stride + panel * lanes);
}

/// Chains over columns as they stand in the matrix.
inline void chain_product(const RowPointers& x, const Panels& m, float* out, std::int64_t stride) {
  constexpr std::int64_t most_rows = 384;  // at once: their sums stay in the second cache
  const auto rows = static_cast<std::int64_t>(x.size());
  const Loops& loop = loops();
  const Segments segments(m.k);
  over_panels(m, rows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch, sums(static_cast<std::size_t>(segments.count * std::min(rows, most_rows) * lanes));
    for (std::int64_t panel = begin; panel < end; ++panel)
      for (std::int64_t row = 0; row < rows; row += most_rows) {
        const std::int64_t count = std::min(most_rows, rows - row);
        std::int64_t group = 0;
        for (std::int64_t s = 0; s < segments.count; ++s) {
          const std::int64_t first = s * segments.columns, width = std::min(segments.columns, m.k - first);
          const float* const w = m.floats(panel, first, width, group, scratch);
          loop.chain({x.data() + row, first, static_cast<int>(count), w, lanes, static_cast<int>(width), block},
                     sums.data() + s * count * lanes);
        }
        add_segment_rows(sums.data(), segments.count, count * lanes);
        copy_results(sums.data(), count, m, panel, out + row * stride, stride);
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

/// A group's weights as a tile, or two.
struct TileOf {
  const std::uint8_t *high, *low;
};

}  // namespace detail

/// A matrix of integers, group by group.
class IntegerProduct {
 public:
  /// Rows `rows` of x.
  IntegerProduct(const SlicedRows& x, std::span<const std::int64_t> rows, const Panels& m) : x_(x), rows_(rows), m_(m) {
    for (const ColumnGroup& group : m.columns.groups)
      for (const std::int64_t r : rows) {
        sums_.push_back(x.sum(r, group));
        units_.push_back(x.unit(r, group.block));
      }
    if (m.kind == Panels::Kind::map) slice_map();
  }

  /// out[r * stride + row of m] for the r-th of the rows. In parallel over panels.
  void operator()(float* out, std::int64_t stride) const {
    constexpr std::int64_t most_rows = 64;  // at once: with a tile they stay in the first cache
    const std::int64_t rows = std::ssize(rows_);
    std::vector<const std::byte*> x;
    for (const std::int64_t r : rows_) x.push_back(x_.row(r));
    detail::over_panels(m_, rows, [&](std::int64_t begin, std::int64_t end) {
      const auto size = static_cast<std::size_t>(std::min(rows, most_rows) * lanes);
      std::vector<float> results(size);
      std::vector<std::int32_t> dots(size);
      std::vector<std::uint8_t> scratch(2 * slice_block * lanes);
      for (std::int64_t panel = begin; panel < end; ++panel)
        for (std::int64_t row = 0; row < rows; row += most_rows) {
          const std::int64_t count = std::min(most_rows, rows - row);
          std::fill(results.begin(), results.end(), 0.0f);
          for (std::int64_t group = 0; group < m_.columns.count(); ++group)
            add_group(panel, group, row, count, x.data() + row, scratch, dots.data(), results.data());
          detail::copy_results(results.data(), count, m_, panel, out + row * stride, stride);
        }
    });
  }

 private:
  void add_group(std::int64_t panel, std::int64_t group, std::int64_t row, std::int64_t count,
                 const std::byte* const* x, std::vector<std::uint8_t>& scratch, std::int32_t* dots,
                 float* results) const {
    const IntegerLoops& loop = integer_loops();
    const ColumnGroup& g = m_.columns.groups[static_cast<std::size_t>(group)];
    const auto width = static_cast<int>(g.end - g.begin);
    const detail::TileOf tile = tile_of(panel, g, width, scratch);
    static constexpr std::array<std::uint8_t, lanes> no_zeros{};
    const std::int64_t side = m_.side(panel, group), at = group * std::ssize(rows_) + row;
    loop.dot({x, x_.columns(), g.begin, width, static_cast<int>(count), tile.high, tile.low, sums_.data() + at}, dots);
    const bool has_zeros = m_.zeros.defined();
    loop.end_group({.rows = static_cast<int>(count),
                    .dots = dots,
                    .sums = sums_.data() + at,
                    .zeros = has_zeros ? m_.zeros.const_data_ptr<std::uint8_t>() + side : no_zeros.data(),
                    .units = units_.data() + at,
                    .scales = m_.scales.const_data_ptr<float>() + side,
                    .minima = m_.minima.defined() ? m_.minima.const_data_ptr<float>() + side : nullptr,
                    .results = results});
  }

  detail::TileOf tile_of(std::int64_t panel, const ColumnGroup& g, int width,
                         std::vector<std::uint8_t>& scratch) const {
    const IntegerLoops& loop = integer_loops();
    const std::int64_t at = (panel * m_.columns.stored + g.begin) * lanes;
    const std::uint8_t* const values = m_.values.const_data_ptr<std::uint8_t>();
    switch (m_.kind) {
      case Panels::Kind::int4:
        loop.unpack_codes(values + at / 2, width, scratch.data());
        return {scratch.data(), nullptr};
      case Panels::Kind::map: {
        std::uint8_t* const low = scratch.data() + slice_block * lanes;
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
    const MapSlices slices(m_.map);
    for (std::size_t i = 0; i < 16; ++i) {
      map_high_[i] = static_cast<std::uint8_t>(high_slice(slices.values[i]) + 128);
      map_low_[i] = static_cast<std::uint8_t>(low_slice(slices.values[i]) + 128);
    }
  }

  const SlicedRows& x_;
  std::span<const std::int64_t> rows_;
  const Panels& m_;
  std::vector<std::int32_t> sums_;  // [groups, rows]
  std::vector<float> units_;        // [groups, rows]
  std::array<std::uint8_t, 16> map_high_{}, map_low_{};
};

/// Rows of activations that products read: as floats, and as integers where one needs them, sliced once.
class Inputs {
 public:
  explicit Inputs(RowPointers rows) : rows_(std::move(rows)), all_(rows_.size()) {
    std::iota(all_.begin(), all_.end(), 0);
  }
  Inputs(const float* first, std::int64_t rows, std::int64_t stride) : Inputs(row_pointers(first, rows, stride)) {}

  std::int64_t rows() const { return std::ssize(rows_); }
  std::span<const std::int64_t> all() const { return all_; }

  /// out[r * stride + row of m] = x[rows[r]] . m
  void product(std::span<const std::int64_t> rows, const Panels& m, float* out, std::int64_t stride) const {
    if (rows.empty()) return;
    if (m.arithmetic == Arithmetic::chains) {
      RowPointers x;
      for (const std::int64_t r : rows) x.push_back(rows_[static_cast<std::size_t>(r)]);
      return m.columns.order.empty() ? detail::chain_product(x, m, out, stride)
                                     : detail::ordered_chain_product(x, m, out, stride);
    }
    if (!m.columns.order.empty()) {
      RowPointers x;
      std::vector<std::int64_t> own(rows.size());
      std::iota(own.begin(), own.end(), 0);
      for (const std::int64_t r : rows) x.push_back(rows_[static_cast<std::size_t>(r)]);
      return IntegerProduct(SlicedRows(x, m.columns), own, m)(out, stride);
    }
    if (!sliced_) sliced_.emplace(rows_, m.columns);
    IntegerProduct(*sliced_, rows, m)(out, stride);
  }

 private:
  RowPointers rows_;
  std::vector<std::int64_t> all_;
  mutable std::optional<SlicedRows> sliced_;  // columns as they come
};

}  // namespace fpf::portable
