// The loops over integers that vector instructions carry out, as a table of functions, and their plain form. What they
// compute is exact, so that nothing of an instruction set shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fpf/portable/lanes.hpp>

namespace fpf::portable {

/// Rows of integers within +-32639 as products read them, two bytes a column.
struct IntegerRows {
  const std::byte* values;
  std::int64_t columns;  // of each, a multiple of 8
  /// Sixteen rows beside each other and 64 columns at a time, [rows / 16][columns / 64][16] of what spread() makes of
  /// them; else [rows] of what it makes of all.
  bool tiled = false;

  const std::byte* row(std::int64_t r) const { return values + 2 * r * columns; }  // tiled: a multiple of 16
};
inline constexpr std::int64_t tile_rows = 16, tile_columns = 64;

/// Rows of integers times weights of sixteen outputs. A tile has its weights as bytes, tile[column / 4][lane][column %
/// 4]: codes of 0 to 255, or integers of 16 bits in two slices (high_slice, low_slice), each + 128.
struct Dot {
  IntegerRows x;
  std::int64_t first;  // column of x that stands at the tile's first
  int count;           // columns of the tile, a multiple of 8
  int rows;
  const std::uint8_t* high;  // or the codes
  const std::uint8_t* low;   // null: codes
  const std::int32_t* sums;  // [rows] of x over the tile's columns, for slices; else null
  std::int32_t* dots;        // out [rows * stride + lane]: of codes the sum of q * code; of slices the sliced_sum
  std::int64_t stride = lanes;
};

/// Where a tile of codes, or a pair of slices', stands.
struct TileOf {
  const std::uint8_t *high, *low;  // as Dot's
};

/// A group's dot products onto `rows` results of sixteen lanes.
struct GroupEnd {
  int rows;
  const std::int32_t* dots;   // [rows][16], as dot() gives them
  const std::int32_t* sums;   // [rows]: of the integers that each zero was multiplied by
  const std::uint8_t* zeros;  // [16], or null
  const float* units;         // [rows]
  const float* scales;        // [16]
  const float* minima;        // [16], or null
  float* results;             // [rows][16]
};

/// Columns of a matrix that share a scale; within one block of 128, and beginning at a multiple of 8.
struct ColumnGroup {
  std::int64_t begin, end;  // stored columns
  std::int64_t block;       // of the columns of x that share a unit (integers)
};

/// Rows of integers times groups of columns, which follow one another, of sixteen outputs.
struct GroupedProduct {
  IntegerRows x;
  int rows;  // tiled or up to most_rows
  const ColumnGroup* groups;
  int count;                 // of groups
  const std::uint8_t* high;  // tiles as Dot's, from the first group's first column on
  const std::uint8_t* low;
  const std::int32_t* sums;  // [count * stride + row] of x over a group's columns
  const float* units;        // [count * stride + row]
  std::int64_t stride;
  const float* scales;        // [count][16]
  const std::uint8_t* zeros;  // [count][16] of codes, or null
  const float* minima;        // [count][16] of codes without zeros, else null
  float* results;             // [rows][16], in and out; tiled: whole tiles of rows, as sums and units

  static constexpr int most_rows = 64;
};

/// An attention block's dots with values onto `rows` results of sixteen dimensions.
struct ValueEnd {
  int rows;
  const std::int32_t* dots;              // [rows][16], as dot() gives them
  const float *old_scales, *new_scales;  // [rows], of weigh()
  float* results;                        // [rows * stride]
  std::int64_t stride;
};

/// What one query row knows of the blocks before, and one block's dots with keys.
struct AttentionRow {
  int count;                     // positions of the block that it sees, 1 to 128
  const std::int32_t* dots;      // [count]
  const float* key_units;        // [count]
  const float* value_units;      // [count]
  float factor;                  // what a dot of unit 1 is worth, in powers of two
  float *maximum, *sum;          // in and out
  float *old_scale, *new_scale;  // out: of what was summed before, and of the block's dots with values
  std::int16_t* weights;         // out [128]
  std::int32_t* weight_sum;      // out
};

struct IntegerLoops {
  /// Whether it takes rows that are tiled.
  bool tiles;
  /// `columns` (a multiple of 8) integers within +-32639 -> 2 * columns bytes, as dot() reads them.
  void (*spread)(const std::int16_t* q, std::int64_t columns, std::byte* to);
  void (*dot)(const Dot& d);
  void (*product)(const GroupedProduct& p);
  /// Codes of `count` columns, uint32 [count / 8][16]: the low half of byte i has column i's code, the high half column
  /// i + 4's -> a tile.
  void (*unpack_codes)(const std::uint8_t* codes, int count, std::uint8_t* tile);
  /// The same through a map of sixteen two-slice values.
  void (*unpack_map)(const std::uint8_t* codes, int count, const std::uint8_t* high_of, const std::uint8_t* low_of,
                     std::uint8_t* high, std::uint8_t* low);
  /// `count` values -> integers, and the exponent of what they are worth (slice_unit); zeros where there is
  /// none.
  unsigned (*integers)(const float* x, int count, std::int16_t* q);
  void (*end_values)(const ValueEnd& v);
  /// One attention block of `count` queries: each one's dots with the keys that it sees -> weights as integers [128],
  /// zeros from there on; joined with what it knows. See AttentionRow.
  void (*weigh)(const AttentionRow* rows, int count);
};

namespace detail {

FPF_HD unsigned integers(const float* x, int count, std::int16_t* q) {
  unsigned most = 0;
  for (int k = 0; k < count; ++k) {
    const unsigned magnitude = bits_of(x[k]) & 0x7fffffffu;
    most = magnitude > most ? magnitude : most;
  }
  const unsigned e = slice_exponent(most);
  if (e >= no_number) {
    for (int k = 0; k < count; ++k) q[k] = 0;
    return e;
  }
  const float scale = slice_scale(e);
  for (int k = 0; k < count; ++k) q[k] = static_cast<std::int16_t>(nearest(x[k], scale));
  return e;
}

FPF_HD void end_group(const GroupEnd& g) {
  for (int r = 0; r < g.rows; ++r) {
    const float unit = g.units[r];
    const auto sum = static_cast<std::uint32_t>(g.sums[r]);
    const std::int32_t* const dots = g.dots + r * lanes;
    float* const results = g.results + r * lanes;
    for (int lane = 0; lane < lanes; ++lane) {
      const std::uint32_t zeros = g.zeros == nullptr ? 0 : std::uint32_t{g.zeros[lane]} * sum;
      const auto v = static_cast<std::int32_t>(static_cast<std::uint32_t>(dots[lane]) - zeros);
      results[lane] = with_group(results[lane], v, unit, g.scales[lane]);
    }
    if (g.minima == nullptr) continue;
    const float total = mul(static_cast<float>(g.sums[r]), unit);
    for (int lane = 0; lane < lanes; ++lane) results[lane] = fma(total, g.minima[lane], results[lane]);
  }
}

FPF_HD void end_values(const ValueEnd& v) {
  for (int r = 0; r < v.rows; ++r) {
    float* const results = v.results + r * v.stride;
    for (int lane = 0; lane < lanes; ++lane)
      results[lane] =
          fma(static_cast<float>(v.dots[r * lanes + lane]), v.new_scales[r], mul(results[lane], v.old_scales[r]));
  }
}

/// int8 high slices [columns], then low ones [columns].
FPF_HD void spread_slices(const std::int16_t* q, std::int64_t columns, std::byte* to) {
  auto *const high = reinterpret_cast<std::int8_t*>(to), *const low = high + columns;
  for (std::int64_t k = 0; k < columns; ++k) {
    high[k] = static_cast<std::int8_t>(high_slice(q[k]));
    low[k] = static_cast<std::int8_t>(low_slice(q[k]));
  }
}

/// A product, group by group.
template <void (*dot)(const Dot&), void (*end_group)(const GroupEnd&)>
void product_of_dots(GroupedProduct p) {
  std::int32_t dots[GroupedProduct::most_rows * lanes];
  for (; p.rows > GroupedProduct::most_rows; p.rows -= GroupedProduct::most_rows) {  // of tiles
    GroupedProduct first = p;
    first.rows = GroupedProduct::most_rows;
    product_of_dots<dot, end_group>(first);
    p.x.values = p.x.row(GroupedProduct::most_rows);
    p.sums += GroupedProduct::most_rows;
    p.units += GroupedProduct::most_rows;
    p.results += GroupedProduct::most_rows * lanes;
  }
  for (int i = 0; i < p.count; ++i) {
    const ColumnGroup& group = p.groups[i];
    const std::int64_t at = (group.begin - p.groups[0].begin) * lanes;
    dot({.x = p.x,
         .first = group.begin,
         .count = static_cast<int>(group.end - group.begin),
         .rows = p.rows,
         .high = p.high + at,
         .low = p.low == nullptr ? nullptr : p.low + at,
         .sums = p.sums + i * p.stride,
         .dots = dots});
    end_group({.rows = p.rows,
               .dots = dots,
               .sums = p.sums + i * p.stride,
               .zeros = p.zeros == nullptr ? nullptr : p.zeros + i * lanes,
               .units = p.units + i * p.stride,
               .scales = p.scales + i * lanes,
               .minima = p.minima == nullptr ? nullptr : p.minima + i * lanes,
               .results = p.results});
  }
}

FPF_HD float largest_of(const float* x, int count) {
  float most[lanes];
  for (int lane = 0; lane < lanes; ++lane) most[lane] = x[lane < count ? lane : 0];
  int j = lanes;
  for (; j + lanes <= count; j += lanes)
    for (int lane = 0; lane < lanes; ++lane) most[lane] = larger(most[lane], x[j + lane]);
  for (; j < count; ++j) most[0] = larger(most[0], x[j]);
  for (int lane = 1; lane < lanes; ++lane) most[0] = larger(most[0], most[lane]);
  return most[0];
}

FPF_HD void weigh_row(const AttentionRow& row) {
  constexpr int most = integer_position_block;
  float scores[most] = {}, weights[most] = {};
  for (int j = 0; j < row.count; ++j) scores[j] = mul(static_cast<float>(row.dots[j]), row.key_units[j]);
  const float highest = mul(largest_of(scores, row.count), row.factor),
              largest = largest_of(row.value_units, row.count);
  const float factor = mul(row.factor, 0.015625f), offset = sub(1.0f, mul(highest, 0.015625f));
  for (int j = 0; j < row.count; ++j) weights[j] = exp2_of_unit(unit_interval(fma(scores[j], factor, offset)));
  float chains[4] = {};
  for (int j = 0; j < most; j += 8)
    for (int c = 0; c < 4; ++c) chains[c] = add(add(chains[c], weights[j + 2 * c]), weights[j + 2 * c + 1]);
  const float inverse = inverse_power(largest);
  for (int j = 0; j < row.count; ++j)
    row.weights[j] =
        static_cast<std::int16_t>(nearest(weights[j], mul(mul(row.value_units[j], inverse), attention_weight)));
  for (int j = row.count; j < most; ++j) row.weights[j] = 0;
  std::int32_t sum = 0;
  for (int j = 0; j < most; ++j) sum += row.weights[j];
  *row.weight_sum = sum;
  const float next = larger(*row.maximum, highest), new_scale = exp2_below(sub(highest, next));
  *row.old_scale = exp2_below(sub(*row.maximum, next));
  *row.sum = fma(add(add(chains[0], chains[1]), add(chains[2], chains[3])), new_scale, mul(*row.sum, *row.old_scale));
  *row.maximum = next;
  *row.new_scale = mul(new_scale, mul(largest, attention_value));
}

FPF_HD void weigh(const AttentionRow* rows, int count) {
  for (int r = 0; r < count; ++r) weigh_row(rows[r]);
}

}  // namespace detail

namespace plain {

inline void spread(const std::int16_t* q, std::int64_t columns, std::byte* to) {
  portable::detail::spread_slices(q, columns, to);
}

/// Both slices of column k of a row.
inline int integer_at(const IntegerRows& x, std::int64_t r, std::int64_t k) {
  const std::int64_t in_tile = r % tile_rows, apart = x.tiled ? tile_columns : x.columns;
  const auto* const high = reinterpret_cast<const std::int8_t*>(
      x.tiled ? x.row(r - in_tile) + 2 * (k / tile_columns * tile_columns * tile_rows + in_tile * tile_columns) +
                    k % tile_columns
              : x.row(r) + k);
  return 256 * high[0] + high[apart];
}

FPF_EXACT inline void dot(const Dot& d) {
  for (int r = 0; r < d.rows; ++r) {
    std::int32_t* const to = d.dots + r * d.stride;
    std::int32_t low_sums[lanes] = {};
    for (int lane = 0; lane < lanes; ++lane) to[lane] = 0;
    const int bias = d.low == nullptr ? 0 : 128;
    for (int k = 0; k < d.count; ++k) {
      const int q = integer_at(d.x, r, d.first + k);
      const std::int64_t at = k / 4 * 4 * lanes + k % 4;
      for (int lane = 0; lane < lanes; ++lane) to[lane] += q * (d.high[at + 4 * lane] - bias);
      if (d.low == nullptr) continue;
      for (int lane = 0; lane < lanes; ++lane) low_sums[lane] += q * (d.low[at + 4 * lane] - bias);
    }
    if (d.low == nullptr) continue;
    for (int lane = 0; lane < lanes; ++lane) to[lane] = sliced_sum(to[lane], low_sums[lane]);
  }
}

inline void unpack_codes(const std::uint8_t* codes, int count, std::uint8_t* tile) {
  for (int first = 0; first < count; first += 8, codes += 4 * lanes, tile += 8 * lanes)
    for (int i = 0; i < 4 * lanes; ++i) {
      tile[i] = codes[i] & 15;
      tile[4 * lanes + i] = codes[i] >> 4;
    }
}

inline void unpack_map(const std::uint8_t* codes, int count, const std::uint8_t* high_of, const std::uint8_t* low_of,
                       std::uint8_t* high, std::uint8_t* low) {
  for (int at = 0; at < count * lanes; at += 8 * lanes, codes += 4 * lanes)
    for (int i = 0; i < 4 * lanes; ++i) {
      high[at + i] = high_of[codes[i] & 15];
      low[at + i] = low_of[codes[i] & 15];
      high[at + 4 * lanes + i] = high_of[codes[i] >> 4];
      low[at + 4 * lanes + i] = low_of[codes[i] >> 4];
    }
}

FPF_EXACT inline unsigned integers(const float* x, int count, std::int16_t* q) {
  return portable::detail::integers(x, count, q);
}
FPF_EXACT inline void end_group(const GroupEnd& g) { portable::detail::end_group(g); }
FPF_EXACT inline void end_values(const ValueEnd& v) { portable::detail::end_values(v); }
FPF_EXACT inline void weigh(const AttentionRow* rows, int count) { portable::detail::weigh(rows, count); }

FPF_EXACT inline void product(const GroupedProduct& p) { portable::detail::product_of_dots<dot, end_group>(p); }

/// It takes tiles, so that what stands in them is tried on every CPU.
inline constexpr IntegerLoops integer_loops{.tiles = true,
                                            .spread = spread,
                                            .dot = dot,
                                            .product = product,
                                            .unpack_codes = unpack_codes,
                                            .unpack_map = unpack_map,
                                            .integers = integers,
                                            .end_values = end_values,
                                            .weigh = weigh};

}  // namespace plain

}  // namespace fpf::portable
