// Weight matrices as the portable execution reads them on a CPU: sixteen output rows beside each other.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <array>
#include <fpf/device/dtype.hpp>
#include <fpf/portable/loops.hpp>
#include <utility>
#include <vector>

namespace fpf::portable {

/// Widens `count` elements of float32, bfloat16 or float16.
inline void widen(const void* from, at::ScalarType type, std::int64_t count, float* to) {
  const Loops& loop = loops();
  if (type == at::kFloat)
    std::copy_n(static_cast<const float*>(from), count, to);
  else
    (type == at::kHalf ? loop.widen_float16 : loop.widen_bfloat16)(static_cast<const std::uint16_t*>(from), to, count);
}

/// How many columns of a reduction over k make a segment of a chain.
inline std::int64_t segment_columns(std::int64_t k) {
  return std::max(1, segment_blocks(blocks_of(static_cast<int>(k)))) * block;
}

/// Which arithmetic a matrix is for: float32 models, routers and heads add up products of floats; models of 16 bits
/// multiply integers.
enum class Arithmetic : std::uint8_t { chains, integers };

/// Which input stands at each stored column, and what is shared by which.
struct Columns {
  std::int64_t inputs = 0, stored = 0;  // stored: a multiple of 8
  std::vector<ColumnGroup> groups;
  std::vector<std::int64_t> block_begin;  // [blocks + 1]: stored columns of each block of x (integers)
  std::vector<std::int32_t> order;        // [stored]: the input, or -1 for none; empty: as they come

  /// `ends`: where, in the order of the columns, a group ends (the last is the number of inputs). `order`: the columns'
  /// inputs, empty for as they come.
  Columns() = default;
  Columns(Arithmetic arithmetic, const std::vector<std::int64_t>& ends, std::vector<std::int32_t> by = {})
      : inputs(ends.back()) {
    if (arithmetic == Arithmetic::chains) {
      std::int64_t begin = 0;
      for (const std::int64_t end : ends) groups.push_back({std::exchange(begin, end), end, 0});
      stored = round_up(inputs);
      order = std::move(by);
      if (!order.empty()) order.resize(static_cast<std::size_t>(stored), -1);
      return;
    }
    std::vector<std::int64_t> cuts(ends);
    for (std::int64_t at = slice_block; at < inputs; at += slice_block) cuts.push_back(at);
    std::ranges::sort(cuts);
    cuts.erase(std::ranges::unique(cuts).begin(), cuts.end());
    cuts.erase(cuts.begin(), std::ranges::upper_bound(cuts, 0));
    const bool moved = !by.empty() || std::any_of(cuts.begin(), cuts.end() - 1, [](auto at) { return at % 8 != 0; });
    std::int64_t begin = 0;
    for (const std::int64_t end : cuts) {
      if (begin % slice_block == 0) block_begin.push_back(stored);
      const std::int64_t width = end - begin;
      groups.push_back({stored, stored + round_up(width), begin / slice_block});
      if (moved)
        for (std::int64_t i = 0; i < round_up(width); ++i)
          order.push_back(i >= width   ? -1
                          : by.empty() ? static_cast<std::int32_t>(begin + i)
                                       : by[static_cast<std::size_t>(begin + i)]);
      stored += round_up(width);
      begin = end;
    }
    block_begin.push_back(stored);
  }

  /// Whether rows in tiles serve: no group leaves a part of two tiles.
  bool fit_tiles() const {
    return std::ranges::all_of(groups, [](const ColumnGroup& g) {
      return g.begin % tile_columns == 0 || g.begin % tile_columns + g.end - g.begin <= tile_columns;
    });
  }

  std::int64_t blocks() const { return static_cast<std::int64_t>(block_begin.size()) - 1; }
  std::int64_t count() const { return static_cast<std::int64_t>(groups.size()); }
  /// The input at a stored column, or -1.
  std::int64_t input(std::int64_t column) const {
    if (!order.empty()) return order[static_cast<std::size_t>(column)];
    return column < inputs ? column : -1;
  }

 private:
  static std::int64_t round_up(std::int64_t columns) { return (columns + 7) / 8 * 8; }
};

/// Groups of `length` columns that follow one another: where each ends.
inline std::vector<std::int64_t> even_ends(std::int64_t k, std::int64_t length) {
  std::vector<std::int64_t> out;
  for (std::int64_t end = length; end < k; end += length) out.push_back(end);
  out.push_back(k);
  return out;
}

/// For each of the columns' groups, which of the groups that end at `ends` it is a part of.
inline std::vector<std::int64_t> stored_groups(const Columns& columns, const std::vector<std::int64_t>& ends) {
  std::vector<std::int64_t> out;
  std::int64_t inputs = 0;
  for (const ColumnGroup& group : columns.groups) {
    out.push_back(std::ranges::upper_bound(ends, inputs) - ends.begin());
    for (std::int64_t column = group.begin; column < group.end; ++column) inputs += columns.input(column) >= 0 ? 1 : 0;
  }
  return out;
}

/// A matrix [n, k] in panels of sixteen rows; rows past n are zeros.
///   dense    T [panels, k, 16], for chains
///   int4     uint32 [panels, stored / 8, 16] as four_bit_word() has them, float32 scales, uint8 zeros
///   map      the same without zeros; codes stand for a map's values
///   bytes    a tile (Dot) of uint8 [panels, stored / 4, 16, 4], float32 scales, uint8 zeros
///   slices   two such tiles a matrix, high [panels, ...] and low, float32 scales
/// Scales, and zeros or minima, are [panels, groups, 16].
struct Panels {
  enum class Kind : std::uint8_t { dense, int4, map, bytes, slices } kind = Kind::dense;
  Arithmetic arithmetic = Arithmetic::chains;
  at::ScalarType dtype = at::kFloat;  // dense: float32, bfloat16 or float16
  std::int64_t n = 0, k = 0;
  Columns columns;
  at::Tensor values, low;            // dense values, codes, or a tile; slices: the low one
  at::Tensor scales, zeros, minima;  // float32, uint8, float32; one of the last two or none
  std::array<float, 16> map{};       // map: what the codes stand for

  std::int64_t panels() const { return (n + lanes - 1) / lanes; }
  std::size_t bytes() const {
    std::size_t total = values.nbytes();
    for (const at::Tensor* t : {&low, &scales, &zeros, &minima})
      if (t->defined()) total += t->nbytes();
    return total;
  }

  /// Where a panel's sixteen values of a group stand in scales, zeros and minima.
  std::int64_t side(std::int64_t panel, std::int64_t group) const { return (panel * columns.count() + group) * lanes; }
  float* scales_of(std::int64_t panel, std::int64_t group) { return scales.data_ptr<float>() + side(panel, group); }
  std::uint8_t* zeros_of(std::int64_t panel, std::int64_t group) {
    return zeros.data_ptr<std::uint8_t>() + side(panel, group);
  }

  /// For chains: columns [first, first + count) of a panel in float32, [count, 16]: in `scratch` or, where they are so
  /// already, the matrix's own. `group` is where the last call ended, or 0.
  const float* floats(std::int64_t panel, std::int64_t first, std::int64_t count, std::int64_t& group,
                      std::vector<float>& scratch) const {
    const Loops& loop = loops();
    const std::int64_t at = (panel * k + first) * lanes;
    if (kind == Kind::dense && dtype == at::kFloat) return values.const_data_ptr<float>() + at;
    scratch.resize(static_cast<std::size_t>(count * lanes));
    if (kind == Kind::dense) {
      const auto* from = static_cast<const std::uint16_t*>(values.const_data_ptr()) + at;
      (dtype == at::kHalf ? loop.widen_float16 : loop.widen_bfloat16)(from, scratch.data(), count * lanes);
      return scratch.data();
    }
    const auto* const codes = static_cast<const std::uint32_t*>(values.const_data_ptr()) + panel * columns.stored * 2;
    for (std::int64_t column = first; column < first + count;) {
      while (columns.groups[static_cast<std::size_t>(group)].end <= column) ++group;
      const std::int64_t end = std::min(first + count, columns.groups[static_cast<std::size_t>(group)].end);
      const auto begin = static_cast<int>(column), length = static_cast<int>(end - column);
      const float* const scale = scales.const_data_ptr<float>() + side(panel, group);
      float* const to = scratch.data() + (column - first) * lanes;
      if (kind == Kind::int4)
        loop.unpack_int4(codes, begin, length, scale, zeros.const_data_ptr<std::uint8_t>() + side(panel, group), to);
      else
        loop.unpack_map(codes, begin, length, scale, map.data(), to);
      column = end;
    }
    return scratch.data();
  }
};

/// A map of sixteen values within +-1 as integers.
inline std::array<std::int16_t, 16> map_integers(const std::array<float, 16>& map) {
  std::array<std::int16_t, 16> out{};
  for (std::size_t i = 0; i < 16; ++i) out[i] = static_cast<std::int16_t>(nearest(map[i], map_weight));
  return out;
}

/// Fills panel after panel in parallel; fill(panel, rows of it).
template <class Fill>
void for_panels(const Panels& panels, Fill fill) {
  at::parallel_for(0, panels.panels(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel)
      fill(panel, std::min<std::int64_t>(lanes, panels.n - panel * lanes));
  });
}

/// Contiguous [n, k] float32, bfloat16 or float16 -> panels for chains.
inline Panels dense_panels(const at::Tensor& matrix) {
  Panels out;
  out.dtype = matrix.scalar_type();
  out.n = matrix.size(0);
  out.k = matrix.size(1);
  out.values = at::empty({out.panels(), out.k, lanes}, matrix.options());
  const at::Tensor rows = matrix.contiguous();
  const auto pack = [&]<class T>(const T* from, T* to) {
    for_panels(out, [&](std::int64_t panel, std::int64_t count) {
      T* const panel_to = to + panel * out.k * lanes;
      for (std::int64_t first = 0; first < out.k; first += 64)
        for (std::int64_t row = 0; row < lanes; ++row)
          for (std::int64_t column = first; column < std::min(first + 64, out.k); ++column)
            panel_to[column * lanes + row] = row < count ? from[(panel * lanes + row) * out.k + column] : T{};
    });
  };
  if (size_of(device::dtype_of(out.dtype)) == 4)
    pack(rows.const_data_ptr<float>(), out.values.data_ptr<float>());
  else
    pack(static_cast<const std::uint16_t*>(rows.const_data_ptr()), static_cast<std::uint16_t*>(out.values.data_ptr()));
  return out;
}

/// Integers of one output row or key, `count` of them within one block, into a pair of tiles of `lane`, from column
/// `first` on.
inline void put_slices(const std::int16_t* q, std::int64_t first, std::int64_t count, std::int64_t lane,
                       std::uint8_t* high, std::uint8_t* low) {
  for (std::int64_t k = first; k < first + count; ++k) {
    const std::int64_t at = k / 4 * 4 * lanes + 4 * lane + k % 4;
    high[at] = static_cast<std::uint8_t>(high_slice(q[k - first]) + 128);
    low[at] = static_cast<std::uint8_t>(low_slice(q[k - first]) + 128);
  }
}

/// Contiguous [n, k] bfloat16 or float16 -> panels of integers, each block of 128 columns of a row with a unit.
inline Panels slice_panels(const at::Tensor& matrix) {
  Panels out;
  out.kind = Panels::Kind::slices;
  out.arithmetic = Arithmetic::integers;
  out.n = matrix.size(0);
  out.k = matrix.size(1);
  out.columns = Columns(Arithmetic::integers, {out.k});
  out.values = at::empty({out.panels(), out.columns.stored * lanes}, at::kByte);
  out.low = at::empty_like(out.values);
  out.scales = at::empty({out.panels(), out.columns.count(), lanes}, at::kFloat);
  const at::Tensor rows = matrix.contiguous();
  const IntegerLoops& loop = integer_loops();
  for_panels(out, [&](std::int64_t panel, std::int64_t count) {
    const std::int64_t bytes = out.columns.stored * lanes;
    std::uint8_t* const high = out.values.data_ptr<std::uint8_t>() + panel * bytes;
    std::uint8_t* const low = out.low.data_ptr<std::uint8_t>() + panel * bytes;
    std::fill_n(high, bytes, std::uint8_t{128});
    std::fill_n(low, bytes, std::uint8_t{128});
    std::fill_n(out.scales_of(panel, 0), out.columns.count() * lanes, 0.0f);
    std::vector<float> row(static_cast<std::size_t>(out.k));
    std::int16_t q[slice_block];
    for (std::int64_t lane = 0; lane < count; ++lane) {
      const auto* const from = static_cast<const std::byte*>(rows.const_data_ptr()) +
                               (panel * lanes + lane) * out.k * static_cast<std::int64_t>(rows.element_size());
      widen(from, rows.scalar_type(), out.k, row.data());
      for (std::int64_t group = 0; group < out.columns.count(); ++group) {
        const std::int64_t first = group * slice_block, width = std::min<std::int64_t>(slice_block, out.k - first);
        const unsigned e = loop.integers(row.data() + first, static_cast<int>(width), q);
        put_slices(q, first, width, lane, high, low);
        out.scales_of(panel, group)[lane] = mul(slice_unit(e), sliced_unit);
      }
    }
  });
  return out;
}

/// A matrix of 4-bit codes [n, k], or of bytes, not filled yet.
inline Panels code_panels(Panels::Kind kind, Arithmetic arithmetic, std::int64_t n, Columns columns) {
  Panels out;
  out.kind = kind;
  out.arithmetic = arithmetic;
  out.n = n;
  out.k = columns.inputs;
  out.columns = std::move(columns);
  const std::int64_t each = kind == Panels::Kind::bytes ? 1 : 2;
  out.values = at::empty({out.panels(), out.columns.stored * lanes / each}, at::kByte);
  out.scales = at::empty({out.panels(), out.columns.count(), lanes}, at::kFloat);
  if (kind != Panels::Kind::map) out.zeros = at::empty({out.panels(), out.columns.count(), lanes}, at::kByte);
  return out;
}

/// Fills a panel of codes: read(input, sixteen codes) for every column.
template <class Read>
void put_codes(Panels& to, std::int64_t panel, Read read) {
  const bool bytes = to.kind == Panels::Kind::bytes;
  std::uint8_t* at = to.values.data_ptr<std::uint8_t>() + panel * to.columns.stored * lanes / (bytes ? 1 : 2);
  for (std::int64_t column = 0; column < to.columns.stored; column += 8) {
    std::uint8_t codes[8][lanes] = {};
    for (std::int64_t i = 0; i < 8; ++i)
      if (const std::int64_t input = to.columns.input(column + i); input >= 0) read(input, codes[i]);
    if (bytes) {
      for (int half = 0; half < 8; half += 4)
        for (int lane = 0; lane < lanes; ++lane)
          for (int i = 0; i < 4; ++i) *at++ = codes[half + i][lane];
    } else {
      for (int lane = 0; lane < lanes; ++lane)
        for (int i = 0; i < 4; ++i) *at++ = static_cast<std::uint8_t>(codes[i][lane] | codes[i + 4][lane] << 4);
    }
  }
}

}  // namespace fpf::portable
