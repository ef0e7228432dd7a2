// The integer loops on Intel's matrix unit (AMX): sixteen rows of x times sixteen outputs, 64 columns at a time.
#pragma once

#include <fpf/portable/integer_vnni.hpp>

#if FPF_HAS_X86_VECTORS
#include <fpf/portable/intrinsics.hpp>

namespace fpf::portable::amx {

namespace detail {

/// Tiles of sixteen rows of 64 bytes, all eight.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Sixteen rows of 64 bytes of x, and sums of sixteen rows and lanes.
struct alignas(64) Bytes {
  std::int8_t of[16][64];
};
struct alignas(64) Sums {
  std::int32_t of[16][lanes];
};

/// How far sixteen rows of x are apart, where that is one distance; else 0.
inline std::ptrdiff_t distance(const Dot& d, int row, int rows) {
  if (rows < 16) return 0;
  const std::ptrdiff_t out = d.x[row + 1] - d.x[row];
  for (int r = 2; r < 16; ++r)
    if (d.x[row + r] - d.x[row + r - 1] != out) return 0;
  return out;
}

/// Up to sixteen rows of x from column `at` on, of the high slices and of the low ones; rows past them repeat the last.
FPF_AMX inline void gather(const Dot& d, int row, int rows, std::int64_t at, Bytes& high, Bytes& low) {
  for (int r = 0; r < 16; ++r) {
    const std::byte* const x = d.x[row + (r < rows ? r : rows - 1)] + at;
    _mm512_store_si512(high.of[r], _mm512_loadu_si512(x));
    _mm512_store_si512(low.of[r], _mm512_loadu_si512(x + d.columns));
  }
}

template <bool Slices>
FPF_AMX inline void sixteen_rows(const Dot& d, int row, int rows, std::int32_t* dots) {
  Bytes high, low;
  Sums sums[4];
  _tile_zero(0);
  _tile_zero(1);
  if (Slices) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const std::ptrdiff_t apart = distance(d, row, rows);
  for (int k = 0; k < d.count; k += 64) {
    if (apart != 0) {
      const std::byte* const x = d.x[row] + d.first + k;
      _tile_loadd(4, x, apart);
      _tile_loadd(5, x + d.columns, apart);
    } else {
      gather(d, row, rows, d.first + k, high, low);
      _tile_loadd(4, &high, 64);
      _tile_loadd(5, &low, 64);
    }
    _tile_loadd(6, d.high + k * lanes, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 5, 6);
    if (!Slices) continue;
    _tile_loadd(7, d.low + k * lanes, 64);
    _tile_dpbsud(2, 4, 7);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_stored(0, &sums[0], 64);
  _tile_stored(1, &sums[1], 64);
  if (Slices) {
    _tile_stored(2, &sums[2], 64);
    _tile_stored(3, &sums[3], 64);
  }
  const auto sum_of = [&](int which, int r) { return sums[which].of[r]; };
  for (int r = 0; r < rows; ++r) {
    const __m512i of_high = avx512_vnni::detail::total(
        {_mm512_load_si512(sum_of(0, r)), _mm512_load_si512(sum_of(1, r))});
    __m512i out = of_high;
    if (Slices) {
      const __m512i of_low = avx512_vnni::detail::total(
          {_mm512_load_si512(sum_of(2, r)), _mm512_load_si512(sum_of(3, r))});
      out = avx512_vnni::detail::joined_slices(of_high, of_low, d.sums[row + r]);
    }
    _mm512_storeu_si512(dots + (row + r) * lanes, out);
  }
}

}  // namespace detail

/// Few rows, and columns that are no whole tiles, are VNNI's.
FPF_AMX inline void dot(const Dot& d, std::int32_t* dots) {
  if (d.rows < 8 || d.count % 64 != 0) return avx512_vnni::dot(d, dots);
  static constexpr detail::TileConfig config;
  _tile_loadconfig(&config);
  for (int row = 0; row < d.rows; row += 16) {
    const int rows = d.rows - row < 16 ? d.rows - row : 16;
    d.low == nullptr ? detail::sixteen_rows<false>(d, row, rows, dots) : detail::sixteen_rows<true>(d, row, rows, dots);
  }
  _tile_release();
}

inline constexpr IntegerLoops integer_loops = [] {
  IntegerLoops out = avx512_vnni::integer_loops;
  out.dot = dot;
  return out;
}();

}  // namespace fpf::portable::amx
#endif
