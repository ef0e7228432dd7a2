// The integer loops on Intel's matrix unit (AMX): sixteen rows of x times sixteen outputs, 64 columns at a time.
#pragma once

#include <fpf/portable/integer_vnni.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable::amx {

namespace detail {

/// Tiles of sixteen rows of 64 bytes; the last two hold what is left of a group behind whole tiles of 64 columns: of x
/// `columns` bytes a row, of weights a quarter as many rows.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

  constexpr explicit TileConfig(int columns) {
    if (columns == 0) return;
    row_bytes[6] = static_cast<std::uint16_t>(columns);
    rows[7] = static_cast<std::uint8_t>(columns / 4);
  }
};
inline constexpr TileConfig tile_configs[] = {TileConfig(0),  TileConfig(8),  TileConfig(16), TileConfig(24),
                                              TileConfig(32), TileConfig(40), TileConfig(48), TileConfig(56)};

/// The configuration of tiles that is loaded: loading another forgets what they hold.
class Tiles {
 public:
  FPF_AMX ~Tiles() { _tile_release(); }
  FPF_AMX void fit(std::int64_t columns) {
    const TileConfig* const wanted = &tile_configs[columns % tile_columns / 8];
    if (wanted == loaded_) return;
    loaded_ = wanted;
    _tile_loadconfig(wanted);
  }

 private:
  const TileConfig* loaded_ = nullptr;
};

/// Sums of sixteen rows and lanes. Of codes: with high slices and with low ones; of slices: of both high, of one each,
/// of both low.
struct alignas(64) Sums {
  std::int32_t of[3][tile_rows][lanes];
};

/// Sixteen rows of x, tiled, and `count` columns from `first` on times a tile of weights.
template <bool Slices>
FPF_AMX inline void multiply(const std::byte* x, std::int64_t first, std::int64_t count, const std::uint8_t* high,
                             const std::uint8_t* low, Sums& sums) {
  constexpr std::int64_t apart = 2 * tile_columns, chunk = tile_rows * apart;
  const std::byte* from = x + first / tile_columns * chunk + first % tile_columns;
  _tile_zero(0);
  _tile_zero(1);
  if (Slices) _tile_zero(2);
  for (; count >= tile_columns; count -= tile_columns, from += chunk) {
    _tile_loadd(3, from, apart);
    _tile_loadd(4, high, 64);
    _tile_dpbsud(0, 3, 4);
    if (Slices) {
      _tile_loadd(5, low, 64);
      _tile_dpbsud(1, 3, 5);
      low += tile_columns * lanes;
    }
    _tile_loadd(3, from + tile_columns, apart);
    _tile_dpbsud(1, 3, 4);
    if (Slices) _tile_dpbsud(2, 3, 5);
    high += tile_columns * lanes;
  }
  if (count > 0) {
    _tile_loadd(6, from, apart);
    _tile_loadd(7, high, 64);
    _tile_dpbsud(0, 6, 7);
    if (Slices) {
      _tile_loadd(7, low, 64);
      _tile_dpbsud(1, 6, 7);
    }
    _tile_loadd(6, from + tile_columns, apart);
    if (Slices) {
      _tile_dpbsud(2, 6, 7);
      _tile_loadd(7, high, 64);
    }
    _tile_dpbsud(1, 6, 7);
  }
  _tile_stored(0, sums.of[0], 64);
  _tile_stored(1, sums.of[1], 64);
  if (Slices) _tile_stored(2, sums.of[2], 64);
}

/// A row's dot products. Weights in slices are 128 too large each: with a, b, c the sums and bias = -128 times that of
/// x, 256 a + b + floor((c + 128 + bias) / 256) + bias is the sliced_sum.
template <bool Slices>
FPF_AMX inline __m512i joined(const Sums& sums, int r, std::int32_t bias) {
  const __m512i high = _mm512_maskz_slli_epi32(avx512::detail::all, _mm512_load_si512(sums.of[0][r]), 8);
  const __m512i both = _mm512_add_epi32(high, _mm512_load_si512(sums.of[1][r]));
  if (!Slices) return both;
  const __m512i low = _mm512_add_epi32(_mm512_load_si512(sums.of[2][r]), _mm512_set1_epi32(128));
  const __m512i rounded = _mm512_add_epi32(low, _mm512_set1_epi32(bias));
  return _mm512_add_epi32(_mm512_add_epi32(both, _mm512_set1_epi32(bias)),
                          _mm512_maskz_srai_epi32(avx512::detail::all, rounded, 8));
}

/// What sixteen rows of a group need.
struct alignas(64) GroupRows {
  std::int32_t sums[tile_rows], biases[tile_rows];
  float units[tile_rows], totals[tile_rows];
};
FPF_AMX inline GroupRows group_rows(const std::int32_t* sums, const float* units) {
  const __m512i sum = _mm512_loadu_si512(sums);
  const __m512 unit = _mm512_loadu_ps(units);
  GroupRows out;
  _mm512_store_si512(out.sums, sum);
  _mm512_store_si512(out.biases,
                     _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_maskz_slli_epi32(avx512::detail::all, sum, 7)));
  _mm512_store_ps(out.units, unit);
  _mm512_store_ps(out.totals, _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(avx512::detail::all, sum), unit));
  return out;
}

using avx512_vnni::detail::With;

/// A group's end of sixteen rows.
template <With W>
FPF_AMX __attribute__((always_inline)) inline void end_group(const Sums& sums, const GroupRows& rows,
                                                             const avx512_vnni::detail::GroupLanes& group,
                                                             __m512 (&results)[tile_rows]) {
#pragma GCC unroll 16
  for (int r = 0; r < tile_rows; ++r)
    results[r] = avx512_vnni::detail::with_dots<W>(results[r], joined<W == With::slices>(sums, r, rows.biases[r]),
                                                   group, rows.sums[r], rows.units[r], rows.totals[r]);
}

/// Sixteen rows from `row` on; their results stay in registers, and a group's end is computed while the next is
/// multiplied.
template <With W>
FPF_AMX inline void sixteen_rows(const GroupedProduct& p, int row, Tiles& tiles) {
  const std::byte* const x = p.x.row(row);
  float* const to = p.results + row * lanes;
  __m512 results[tile_rows];
#pragma GCC unroll 16
  for (int r = 0; r < tile_rows; ++r) results[r] = _mm512_loadu_ps(to + r * lanes);
  Sums sums[2];
  const auto begin = [&](int i) FPF_AMX {
    const ColumnGroup& group = p.groups[i];
    const std::int64_t at = (group.begin - p.groups[0].begin) * lanes, count = group.end - group.begin;
    tiles.fit(count);
    multiply<W == With::slices>(x, group.begin, count, p.high + at, p.low + (W == With::slices ? at : 0), sums[i & 1]);
  };
  begin(0);
  for (int i = 0; i < p.count; ++i) {
    const std::int64_t at = i * p.stride + row;
    const GroupRows rows = group_rows(p.sums + at, p.units + at);
    if (i + 1 < p.count) begin(i + 1);
    end_group<W>(sums[i & 1], rows, avx512_vnni::detail::lanes_of<W>(p, i), results);
  }
#pragma GCC unroll 16
  for (int r = 0; r < tile_rows; ++r) _mm512_storeu_ps(to + r * lanes, results[r]);
}

}  // namespace detail

/// Of slices. Rows that are not tiled are VNNI's.
FPF_AMX inline void dot(const Dot& d) {
  if (!d.x.tiled) return avx512_vnni::dot(d);
  detail::Tiles tiles;
  tiles.fit(d.count);
  detail::Sums sums;
  for (int row = 0; row < d.rows; row += tile_rows) {
    detail::multiply<true>(d.x.row(row), d.first, d.count, d.high, d.low, sums);
    for (int r = 0; r < tile_rows && row + r < d.rows; ++r)
      _mm512_storeu_si512(d.dots + (row + r) * d.stride, detail::joined<true>(sums, r, -128 * d.sums[row + r]));
  }
}

FPF_AMX inline void product(const GroupedProduct& p) {
  if (!p.x.tiled) return avx512_vnni::product(p);
  using enum detail::With;
  detail::Tiles tiles;
  for (int row = 0; row < p.rows; row += tile_rows)
    if (p.low != nullptr) {
      detail::sixteen_rows<slices>(p, row, tiles);
    } else {
      p.minima != nullptr ? detail::sixteen_rows<minima>(p, row, tiles) : detail::sixteen_rows<zeros>(p, row, tiles);
    }
}

inline constexpr IntegerLoops integer_loops = [] {
  IntegerLoops out = avx512_vnni::integer_loops;
  out.tiles = true;
  out.dot = dot;
  out.product = product;
  return out;
}();

}  // namespace fpf::portable::amx
#endif
