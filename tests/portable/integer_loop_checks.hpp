// The loops of integers beside the plain ones (loop_checks.hpp).
#pragma once

#include <numeric>

#include "loop_inputs.hpp"

namespace loop_checks {

using fpf::portable::IntegerLoops;

class IntegerChecks : public Checks {
 public:
  explicit IntegerChecks(const IntegerLoops& loops) : loops_(loops) {
    tiles();
    slices();
    dots();
    products();
    value_ends();
    attention_rows();
  }

 private:
  template <class F>
  void check(const std::string& what, F f) {
    compare(what, f(loops_).of, f(fpf::portable::plain::integer_loops).of);
  }

  void tiles() {
    for (int count = 8; count <= 128; count += 8) {
      const auto packed = codes<std::uint8_t>(count * lanes / 2), high_of = codes<std::uint8_t>(16),
                 low_of = codes<std::uint8_t>(16);
      check(fmt::format("unpack_codes: {} columns", count), [&](const IntegerLoops& loops) {
        auto tile = room<std::uint8_t>(count * lanes);
        loops.unpack_codes(packed.data(), count, tile.data());
        return Bits().add(tile);
      });
      check(fmt::format("unpack_map: {} columns of slices", count), [&](const IntegerLoops& loops) {
        auto high = room<std::uint8_t>(count * lanes), low = high;
        loops.unpack_map(packed.data(), count, high_of.data(), low_of.data(), high.data(), low.data());
        return Bits().add(high).add(low);
      });
    }
  }

  void slices() {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    // Alone or with the others of a block: no number, ties, the edge at which a
    // block takes the next unit.
    const std::vector<float> largest{0.0f,      0x1p-149f,  0x1p-126f, 1.0f,      32639.0f,
                                     32639.49f, 32639.5f,   -32639.5f, 32640.0f,  0x1p127f,
                                     3.389e38f, 3.4028e38f, infinity,  -infinity, NAN};
    for (int count = 1; count <= 128; count = count < 40 ? count + 1 : count + 11)
      for (const float most : largest) {
        std::vector<float> x = floats(count);
        for (float& value : x) {
          const int kind = below(4);
          const float half = static_cast<float>(below(60000) - 30000) + 0.5f;
          value = kind == 0 ? -0.0f : kind == 1 ? half : kind == 2 ? value * 0x1p-20f : value * most;
        }
        x[static_cast<std::size_t>(below(count))] = most;
        check(fmt::format("integers: {} values, {} among them", count, most), [&](const IntegerLoops& loops) {
          auto q = room<std::int16_t>(count);
          const unsigned e = loops.integers(x.data(), count, q.data());
          return Bits().add(q).add(std::vector<unsigned>{e});
        });
      }
  }

  /// Rows of x within +-32639, by kind: random, all the largest, zeros,
  /// alternating.
  std::vector<std::int16_t> integers_of(std::int64_t count, int kind) {
    constexpr int most = 32639;
    std::vector<std::int16_t> out;
    while (std::ssize(out) < count) {
      const int random = below(2 * most + 1) - most, sign = std::ssize(out) % 2 == 0 ? 1 : -1;
      out.push_back(static_cast<std::int16_t>(kind == 0   ? random
                                              : kind == 1 ? most
                                              : kind == 2 ? -most
                                              : kind == 3 ? sign * most
                                                          : 0));
    }
    return out;
  }

  /// Rows as a table's spread() has them: one after another, or tiled
  /// (IntegerRows).
  struct Rows {
    const std::vector<std::vector<std::int16_t>>& x;
    std::int64_t columns;

    std::int64_t stored(bool tiled) const { return tiled ? (columns + 63) / 64 * 64 : columns; }
    static bool fit(std::int64_t first, std::int64_t count) { return first % 64 == 0 || first % 64 + count <= 64; }
    std::vector<std::byte> spread(const IntegerLoops& loops, bool tiled) const {
      const std::int64_t all = stored(tiled), rows = tiled ? (std::ssize(x) + 15) / 16 * 16 : std::ssize(x);
      std::vector<std::byte> out(static_cast<std::size_t>(2 * rows * all));
      for (std::int64_t r = 0; r < std::ssize(x); ++r) {
        std::vector<std::int16_t> q = x[static_cast<std::size_t>(r)];
        q.resize(static_cast<std::size_t>(all));
        const std::int64_t step = tiled ? 64 : all;
        for (std::int64_t column = 0; column < all; column += step)
          loops.spread(q.data() + column, step,
                       out.data() + (tiled ? 2 * (r / 16 * 16 * all + column * 16 + r % 16 * 64) : 2 * r * all));
      }
      return out;
    }
  };

  void dots() {
    for (int rows = 1; rows <= 33; rows = rows < 20 ? rows + 1 : rows + 13)
      for (const int count : {8, 16, 24, 32, 56, 64, 72, 96, 120, 128, 192, 256})
        for (const bool sliced : {false, true}) one_dot(rows, count, sliced);
    for (const int rows : {1, 4, 16})
      for (int kind = 1; kind < 5; ++kind)
        for (const int byte : {0, 128, 255})
          for (const bool sliced : {false, true}) one_dot(rows, 128, sliced, kind, byte);
  }

  /// spread() is seen through dot(): sets have rows as they like. Bytes are
  /// random, or all `byte`.
  void one_dot(int rows, int count, bool sliced, int kind = 0, int byte = -1) {
    const std::int64_t columns = count + 8 * below(17), first = 8 * below(static_cast<int>(columns - count) / 8 + 1);
    std::vector<std::vector<std::int16_t>> x;
    std::vector<std::int32_t> sums;
    for (int r = 0; r < rows; ++r) {
      const auto& row = x.emplace_back(integers_of(columns, kind));
      sums.push_back(std::accumulate(row.begin() + first, row.begin() + first + count, std::int32_t{0}));
    }
    auto high = codes<std::uint8_t>(count * lanes), low = codes<std::uint8_t>(count * lanes);
    if (byte >= 0) std::ranges::fill(high, static_cast<std::uint8_t>(byte));
    if (byte >= 0) std::ranges::fill(low, static_cast<std::uint8_t>(byte));
    if (sliced)  // of -32639 to 32639
      std::ranges::transform(high, high.begin(), [](std::uint8_t h) { return std::max<std::uint8_t>(h, 1); });
    const Rows rows_of{x, columns};
    const std::int64_t stride = lanes * (1 + rows % 2);
    check(fmt::format("dot: {} rows, columns {} to {} of {}, {}", rows, first, first + count, columns,
                      sliced ? "slices" : "codes"),
          [&](const IntegerLoops& loops) {
            Bits out;
            for (const bool tiled : {false, true}) {
              if (tiled && (!loops.tiles || !sliced || !Rows::fit(first, count))) continue;
              const auto bytes = rows_of.spread(loops, tiled);
              auto dots = room<std::int32_t>(rows * stride, 5);
              loops.dot({.x = {bytes.data(), rows_of.stored(tiled), tiled},
                         .first = first,
                         .count = count,
                         .rows = rows,
                         .high = high.data(),
                         .low = sliced ? low.data() : nullptr,
                         .sums = sliced ? sums.data() : nullptr,
                         .dots = dots.data(),
                         .stride = stride});
              if (tiled)
                compare("tiled dot: beside the other", Bits().add(dots).of, out.of);
              else
                out.add(dots);
            }
            return out;
          });
  }

  void products() {
    for (int rows = 1; rows <= 64; rows = rows < 20 ? rows + 1 : rows + 11)
      for (int kind = 0; kind < 6; ++kind) one_product(rows, kind % 3, kind >= 3);
  }

  /// Codes with zeros, with minima; slices. Groups of several widths.
  void one_product(int rows, int kind, bool any) {
    static constexpr int widths[][4] = {{128, 128, 128, 40}, {64, 64, 64, 64}, {32, 32, 32, 32}, {8, 16, 24, 8}};
    const auto& width = widths[below(4)];
    std::vector<fpf::portable::ColumnGroup> groups;
    const std::int64_t before = 128 * below(2);
    std::int64_t end = before;
    for (int i = 0, most = 1 + below(4); i < most; ++i) {
      groups.push_back({end, end + width[i], 0});
      end += width[i];
    }
    const std::int64_t count = std::ssize(groups), columns = end + 8 * below(5), span = end - before;
    const std::int64_t padded = (rows + 15) / 16 * 16, stride = padded + 16 * below(2);
    std::vector<std::vector<std::int16_t>> x;
    for (int r = 0; r < rows; ++r) x.push_back(integers_of(columns, 0));
    std::vector<std::int32_t> sums(static_cast<std::size_t>(count * stride));
    for (std::int64_t i = 0; i < count; ++i)
      for (int r = 0; r < rows; ++r) {
        const auto row = x[static_cast<std::size_t>(r)].begin();
        const auto& group = groups[static_cast<std::size_t>(i)];
        sums[static_cast<std::size_t>(i * stride + r)] =
            std::accumulate(row + group.begin, row + group.end, std::int32_t{0});
      }
    auto high = codes<std::uint8_t>(span * lanes), low = codes<std::uint8_t>(span * lanes);
    const auto zeros = codes<std::uint8_t>(count * lanes);
    if (kind == 2)
      std::ranges::transform(high, high.begin(), [](std::uint8_t h) { return std::max<std::uint8_t>(h, 1); });
    const std::vector<float> units = floats(count * stride, any), scales = floats(count * lanes, any),
                             minima = floats(count * lanes, any), results = floats(padded * lanes, any);
    const Rows rows_of{x, columns};
    check(fmt::format("product: {} rows, {} groups of {}, kind {}", rows, count, width[0], kind),
          [&](const IntegerLoops& loops) {
            Bits out;
            for (const bool tiled : {false, true}) {
              if (tiled && !loops.tiles) continue;
              const auto bytes = rows_of.spread(loops, tiled);
              std::vector<float> to = results;
              loops.product({.x = {bytes.data(), rows_of.stored(tiled), tiled},
                             .rows = rows,
                             .groups = groups.data(),
                             .count = static_cast<int>(count),
                             .high = high.data(),
                             .low = kind == 2 ? low.data() : nullptr,
                             .sums = sums.data(),
                             .units = units.data(),
                             .stride = stride,
                             .scales = scales.data(),
                             .zeros = kind == 0 ? zeros.data() : nullptr,
                             .minima = kind == 1 ? minima.data() : nullptr,
                             .results = to.data()});
              to.resize(static_cast<std::size_t>(rows * lanes));
              if (tiled)
                compare("tiled product: beside the other", Bits().add(to).of, out.of);
              else
                out.add(to);
            }
            return out;
          });
  }

  std::vector<std::int32_t> sums_of(std::int64_t count) {
    std::vector<std::int32_t> out = codes<std::int32_t>(count);
    for (std::int32_t& x : out) x = x >> below(24);
    return out;
  }

  void value_ends() {
    for (int rows = 1; rows <= 17; ++rows)
      for (const bool any : {false, true}) {
        const auto dots = sums_of(rows * lanes);
        const std::int64_t stride = lanes + below(2) * 48;
        const std::vector<float> before = floats(rows * stride, any), old_scales = floats(rows, any),
                                 new_scales = floats(rows, any);
        check(fmt::format("end_values: {} rows", rows), [&](const IntegerLoops& loops) {
          std::vector<float> results = before;
          loops.end_values({rows, dots.data(), old_scales.data(), new_scales.data(), results.data(), stride});
          return Bits().add(results);
        });
      }
  }

  void attention_rows() {
    using namespace fpf::portable;
    for (int count = 1; count <= 128; ++count)
      for (int kind = 0; kind < 6; ++kind) {  // keys and values alike, of any
                                              // units, the least, the largest
        const auto unit = [&](unsigned most) {
          return slice_unit(kind == 0 ? 120u : kind == 4 ? 15u : kind == 5 ? most : 15u + bits() % (most - 14u));
        };
        std::vector<float> key_units, value_units;
        for (int j = 0; j < count; ++j) {
          key_units.push_back(unit(no_score - 1));
          value_units.push_back(unit(no_number - 1));
        }
        std::vector<std::int32_t> dots = sums_of(count);
        if (kind == 2) std::ranges::fill(dots, 0);
        const float factor = mul(mul(unit(no_score - 1), sliced_unit), 0.18033688f);
        const float before = kind % 2 == 0 ? -std::numeric_limits<float>::infinity() : 100.0f * number();
        check(fmt::format("weigh: {} positions of kind {}", count, kind), [&](const IntegerLoops& loops) {
          // One row alone, then five that see fewer and fewer.
          std::vector<float> known;
          std::vector<std::int32_t> sums(6, 77);
          auto weights = room<std::int16_t>(6 * 128);
          std::vector<AttentionRow> rows;
          for (int r = 0; r < 6; ++r)
            known.insert(known.end(), {before, std::isinf(before) ? 0.0f : 3.25f, 77.0f, 77.0f});
          for (int r = 0; r < 6; ++r) {
            float* const own = known.data() + 4 * r;
            rows.push_back({r < 2 ? count : std::max(1, count - 9 * r), dots.data(), key_units.data(),
                            value_units.data(), factor, own, own + 1, own + 2, own + 3, weights.data() + 128 * r,
                            sums.data() + r});
          }
          loops.weigh(rows.data(), 1);
          loops.weigh(rows.data() + 1, 5);
          return Bits().add(known).add(sums).add(weights);
        });
      }
  }

  const IntegerLoops& loops_;
};

}  // namespace loop_checks
