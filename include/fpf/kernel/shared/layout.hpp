// Sizes and places on which plans (host) and kernels (device) must agree: constexpr code that both compile, so that
// each is said once. No includes, C++17: NVRTC takes it as it is. Bytes unless said otherwise.
#pragma once

namespace fpf::kernel {

constexpr int ceil_div(int count, int each) { return (count + each - 1) / each; }
constexpr int rounded_up(int count, int each) { return ceil_div(count, each) * each; }
constexpr long long padded16(long long bytes) { return (bytes + 15) / 16 * 16; }

// ---- threads of a block, where a kernel has them fixed

namespace threads_of {

inline constexpr int warp = 32, combine = 128, eager_scores = 256, eager_softmax = 256;
inline constexpr int elementwise = 256, embed = 128, log_probs = 256;
inline constexpr int repack = 256, dequantise = 256, synthetic = 256;

}  // namespace threads_of

// ---- packed matrices [n, k]: a layout for each format (weights/<format>.cuh), of rows of k columns
//
//   name        in messages
//   chunk       columns in 16 bytes of codes, which a thread takes at once
//   columns     k is a multiple of it
//   rows        n is a multiple of it where the tensor cores multiply
//   bytes(n)    the whole: the codes, row after row, then what stands beside them, each part at a multiple of 16 bytes
//   row_bytes   the codes of one row
//   side_bytes  and what stands beside them: scales, zeros, maxima
//
// Where a part of a matrix begins (..._at) is a function of numbers, not of a layout: kernels call it with constants,
// and of a layout's members their compilers make other code.

/// 4-bit codes u32 [n, k/8]; scales [n, groups], zeros u32 [n, zero_words], columns i32 [k] where they are permuted.
struct Int4Layout {
  int k, group, scale_bytes;  // `group` columns share a scale and a zero
  bool permuted;              // columns stand sorted by group; kept: where each of x stands among the stored ones
  static constexpr const char* name() { return "4-bit"; }
  static constexpr int chunk() { return 32; }
  static constexpr int columns() { return 32; }
  static constexpr int rows() { return 8; }
  constexpr int groups() const { return ceil_div(k, group); }
  constexpr int zero_words() const { return ceil_div(groups(), 8); }  // nibble g % 8 of word g / 8, low end first
  constexpr int row_bytes() const { return k / 2; }
  constexpr int scale_row() const { return groups() * scale_bytes; }
  constexpr int zero_row() const { return zero_words() * 4; }
  constexpr int side_bytes() const { return scale_row() + zero_row(); }
  static constexpr long long scales_at(long long n, int k) { return n * k / 2; }
  static constexpr long long zeros_at(long long n, int k, int scale_row) {
    return scales_at(n, k) + padded16(n * scale_row);
  }
  static constexpr long long columns_at(long long n, int k, int scale_row, int zero_row) {
    return zeros_at(n, k, scale_row) + padded16(n * zero_row);
  }
  constexpr long long bytes(long long n) const {
    return columns_at(n, k, scale_row(), zero_row()) + (permuted ? k * 4 : 0);
  }
};

/// bitsandbytes' 4-bit NormalFloat: codes u32 [n, k/8], maxima float [n, k/64], map float [16].
struct Nf4Layout {
  int k;
  static constexpr int block = 64, map_bytes = 64;  // columns that share a maximum
  static constexpr const char* name() { return "NF4"; }
  static constexpr int chunk() { return 32; }
  static constexpr int columns() { return block; }
  static constexpr int rows() { return 8; }
  constexpr int row_bytes() const { return k / 2; }
  constexpr int side_bytes() const { return k / block * 4; }
  static constexpr long long absmax_at(long long n, int k) { return n * k / 2; }
  static constexpr long long map_at(long long n, int k) { return absmax_at(n, k) + padded16(n * (k / block) * 4); }
  constexpr long long bytes(long long n) const { return map_at(n, k) + map_bytes; }
};

/// Values of `element` bytes [n, k].
struct DenseLayout {
  int k, element;
  static constexpr const char* name() { return "dense"; }
  constexpr int chunk() const { return 16 / element; }
  constexpr int columns() const { return chunk(); }
  static constexpr int rows() { return 1; }
  constexpr int row_bytes() const { return k * element; }
  static constexpr int side_bytes() { return 0; }
  constexpr long long bytes(long long n) const { return n * k * element; }
};

// ---- products (product/, experts/)

inline constexpr int most_rows = 8;       // of x at once
inline constexpr int tile_rows = 16;      // output features of the tensor cores' tile
inline constexpr int half_tile = 8;       // of gate and of up each, where they share one
inline constexpr int tile_columns = 128;  // of the reduction, which a warp takes at once
inline constexpr int most_choices = 32;   // experts a token: a lane each

/// Between a tile's rows of codes in shared memory: half a bank cycle more than a multiple of one, so that two rows' 64
/// bytes meet in different banks.
constexpr int tile_stride(int row_bytes) { return rounded_up(row_bytes, 128) + 64; }

/// A tile: its rows of codes, then what stands beside them.
template <class Layout>
constexpr int tile_size(const Layout& layout) {
  return rounded_up(tile_rows * (tile_stride(layout.row_bytes()) + layout.side_bytes()), 128);
}

/// Elements of a row of x in shared memory, `vector` of them in 16 bytes. Threads that read 32 successive columns each
/// would meet in the same banks, so every 32 columns are followed by 16 unused bytes.
constexpr int staged_columns(int k, int chunk, int vector) { return chunk == 32 ? k + k / 32 * vector : k; }

/// Elements of 16 bits between such rows beside a tile: 16 words more than a multiple of 32, so that rows meet in
/// different banks.
constexpr int staged_stride(int columns) { return rounded_up(columns, 64) + 32; }

// ---- attention (attention/)

inline constexpr int most_group = 8;  // query heads on one kv head

/// A warp's tile of keys and values of 16 bits. The strides keep what lanes read at once apart in the banks.
struct KvTileLayout {
  int head_dim;
  static constexpr int positions = 16;
  constexpr int row_bytes() const { return head_dim * 2; }
  constexpr int key_stride() const { return tile_stride(row_bytes()); }
  constexpr int value_stride() const { return row_bytes() + 16; }
  constexpr int bytes() const { return positions * (key_stride() + value_stride()); }
};

/// Floats between the sums of a warp's heads, which take the place of its tile in the end.
constexpr int head_sums_stride(int head_dim) { return head_dim + 4; }

/// Dynamic shared memory of attend for each of its warps.
constexpr int attend_warp_bytes(int head_dim) {
  const int tile = KvTileLayout{head_dim}.bytes(), sums = most_group * head_sums_stride(head_dim) * 4;
  return tile > sums ? tile : sums;
}

/// ends/head.cuh: how many of the best tokens one block finds among the best of so many slices: eight keys a thread.
constexpr int most_best(int slices) { return 8 * threads_of::log_probs / slices; }

/// weights/repack.cuh's repack_codes: output features, and words of eight codes, a thread each.
inline constexpr int repack_rows = 64, repack_words = 4;

/// Columns that a block of dequantise takes, eight a thread.
inline constexpr int dequantised_columns = threads_of::dequantise * 8;

}  // namespace fpf::kernel
