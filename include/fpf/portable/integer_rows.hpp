// Rows of integers as the loops read them: one after another, or sixteen beside each other for units that multiply
// tiles.
#pragma once

#include <algorithm>
#include <fpf/portable/loops.hpp>
#include <vector>

namespace fpf::portable {

class IntegerStore {
 public:
  /// `fits`: whether the columns' groups serve tiles; rows that are too few for tiles stand one after another.
  IntegerStore(std::int64_t count, std::int64_t columns, bool fits)
      : count_(count),
        tiled_(fits && integer_loops().tiles && count >= few),
        columns_(tiled_ ? round_up(columns, tile_columns) : columns),
        values_(static_cast<std::size_t>(2 * padded() * columns_)) {}

  std::int64_t count() const { return count_; }
  /// Rows that products may read: `count`, or whole tiles of them.
  std::int64_t padded() const { return tiled_ ? round_up(count_, tile_rows) : count_; }
  /// Of each row: those asked for, or whole tiles of them.
  std::int64_t columns() const { return columns_; }
  IntegerRows rows() const { return {values_.data(), columns_, tiled_}; }
  /// The last row that products may begin with, up to `r`.
  std::int64_t first_row(std::int64_t r) const { return tiled_ ? r / tile_rows * tile_rows : r; }

  /// q [columns()]
  void put(std::int64_t r, const std::int16_t* q) {
    const std::int64_t step = tiled_ ? tile_columns : columns_;
    for (std::int64_t column = 0; column < columns_; column += step)
      integer_loops().spread(q + column, step, values_.data() + at(r, column));
  }

  /// A row of another store with as many columns; one that is tiled is not copied from one that is not.
  void copy(const IntegerStore& from, std::int64_t from_row, std::int64_t to_row) {
    if (!from.tiled_) {
      std::copy_n(from.values_.data() + from.at(from_row, 0), 2 * columns_, values_.data() + at(to_row, 0));
      return;
    }
    for (std::int64_t column = 0; column < columns_; column += tile_columns) {
      const std::byte* const both = from.values_.data() + from.at(from_row, column);
      const std::int64_t columns = std::min(tile_columns, columns_ - column);
      std::byte* const to = values_.data() + at(to_row, column);
      std::copy_n(both, columns, to);
      std::copy_n(both + tile_columns, columns, to + (tiled_ ? tile_columns : columns_));
    }
  }

 private:
  static constexpr std::int64_t few = 8;

  static std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

  /// Where a row's bytes from a column on begin; of tiled rows, and of high slices, a multiple of 64.
  std::int64_t at(std::int64_t r, std::int64_t column) const {
    if (!tiled_) return 2 * r * columns_ + column;
    return 2 * (r / tile_rows * tile_rows * columns_ + column * tile_rows + r % tile_rows * tile_columns);
  }

  std::int64_t count_;
  bool tiled_;
  std::int64_t columns_;
  std::vector<std::byte> values_;
};

}  // namespace fpf::portable
