// AWQ's and GPTQ's 4 bits in groups: Int4Layout.
#pragma once

#include <fpf/kernel/shared/params.hpp>
#include <fpf/kernel/shared/portable_arithmetic.hpp>
#include <fpf/kernel/weights/four_bits.cuh>
#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

template <class ScaleType, int GroupSize, int Columns, bool PermutedColumns>
struct Int4 {
  using Scale = ScaleType;
  static constexpr int K = Columns, group = GroupSize, chunk = Int4Layout::chunk();
  static constexpr bool permuted = PermutedColumns, mapped = false, plain = false;
  static_assert(K % Int4Layout::columns() == 0, "a packed matrix needs a reduction length that is a multiple of 32");
  static_assert(group % chunk == 0, "a packed matrix needs groups of a multiple of 32 columns");

  __host__ __device__ static constexpr Int4Layout layout() { return {K, group, int(sizeof(Scale)), permuted}; }

  __device__ static __forceinline__ i64 scales_at(i64 n) { return Int4Layout::scales_at(n, K); }
  __device__ static __forceinline__ i64 zeros_at(i64 n) {
    constexpr int scale_row = layout().scale_row();
    return Int4Layout::zeros_at(n, K, scale_row);
  }
  __device__ static __forceinline__ i64 columns_at(i64 n) {
    constexpr int scale_row = layout().scale_row(), zero_row = layout().zero_row();
    return Int4Layout::columns_at(n, K, scale_row, zero_row);
  }

  __device__ static __forceinline__ u32 group_of(u32 index) { return index * u32(chunk) / u32(group); }

  /// What one thread holds of one row: 32 codes, their scale and the word with their zero. load() takes row
  /// `row` + i, with i known when compiling.
  struct Piece {
    uint4 codes;
    Scale scale;
    u32 zeros;
  };

  __device__ static __forceinline__ Piece load(const u8* matrix, i64 n, int row, int i, u32 index) {
    constexpr int groups = layout().groups(), zero_words = layout().zero_words();
    const u32 g = group_of(index);
    Piece piece;
    piece.codes = load_stream(matrix + i64(row) * (K / 2) + index * 16 + i * (K / 2));
    piece.scale = load_global(reinterpret_cast<const Scale*>(matrix + scales_at(n)) + (row * groups + g) + i * groups);
    piece.zeros =
        load_global(reinterpret_cast<const u32*>(matrix + zeros_at(n)) + (row * zero_words + g / 8) + i * zero_words);
    return piece;
  }

  /// The zero of piece `index`, exactly, through the mantissa of 2^23.
  __device__ static __forceinline__ float zero_of(const Piece& piece, u32 index) {
    const u32 nibble = (piece.zeros >> (group_of(index) % 8 * 4)) & 15u;
    return __uint_as_float(nibble | 0x4b000000u) - 8388608.0f;
  }

  /// x of 32 columns, prepared once for many rows. A code q at bits 19..22 under the exponent of 1 reads as 1
  /// + q/16, at bits 15..18 as 1 + q/256; the latter columns' x are multiplied by 16, exactly, so that one
  /// sum serves both:
  ///   sum x' (1 + ...) = offset + sum x q / 16.
  struct Input {
    float x[32];   // in the order of use
    float offset;  // sum of x'
    float sum;     // sum of x
  };

  template <class Load>
  __device__ static __forceinline__ void prepare(Input& in, Load x_of_column) {
    float low_sum = 0, high_sum = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      constexpr int low[4] = {6, 3, 7, 2}, high[4] = {1, 5, 0, 4};  // columns at bits 15..18 and 19..22 after each turn
#pragma unroll
      for (int turn = 0; turn < 4; ++turn) {
        const float a = x_of_column(8 * w + low[turn]), b = x_of_column(8 * w + high[turn]);
        in.x[8 * w + 2 * turn] = 16 * a;
        in.x[8 * w + 2 * turn + 1] = b;
        low_sum += a;
        high_sum += b;
      }
    }
    in.offset = fmaf(16, low_sum, high_sum);
    in.sum = low_sum + high_sum;
  }

  /// sum over the piece's columns of x * (q - zero) * scale
  __device__ static __forceinline__ float dot(const Piece& piece, const Input& in, u32 index, const float*) {
    const u32 words[4] = {piece.codes.x, piece.codes.y, piece.codes.z, piece.codes.w};
    float sum = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#pragma unroll
      for (int turn = 0; turn < 4; ++turn) {
        const u32 word = turn == 0 ? words[w] : __funnelshift_r(words[w], words[w], 8 * turn);
        sum = fmaf(in.x[8 * w + 2 * turn], __uint_as_float(masked_or(word, 0x00078000u, 0x3f800000u)), sum);
        sum = fmaf(in.x[8 * w + 2 * turn + 1], __uint_as_float(masked_or(word, 0x00780000u, 0x3f800000u)), sum);
      }
    }
    const float codes = 16.0f * (sum - in.offset);  // sum of x q
    return fmaf(-zero_of(piece, index), in.sum, codes) * to_float(piece.scale);
  }

  /// The weight at a stored column, in float32.
  __device__ static __forceinline__ float value_at(const u8* matrix, i64 n, i64 row, u32 stored) {
    constexpr int groups = layout().groups(), zero_words = layout().zero_words();
    const u32 code = code_at<K>(matrix, row, stored), g = stored / u32(group);
    const auto scale = reinterpret_cast<const Scale*>(matrix + scales_at(n))[row * groups + g];
    const u32 zeros = reinterpret_cast<const u32*>(matrix + zeros_at(n))[row * zero_words + g / 8];
    return float(i32(code) - i32(zeros >> (g % 8 * 4) & 15u)) * to_float(scale);
  }
};

// ---- a row of a tile

template <class Scale, int Group, int Columns, bool Permuted, class T>
struct TileRow<Int4<Scale, Group, Columns, Permuted>, T> {
  using Weight = Int4<Scale, Group, Columns, Permuted>;
  static constexpr bool whole = Group % tile_columns == 0;
  static constexpr int factors = whole ? 1 : 4;
  static constexpr bool columns_by_thread = whole;
  static constexpr int groups = Weight::layout().groups(), zero_words = Weight::layout().zero_words();
  static constexpr int row_bytes = Weight::layout().row_bytes(), stride = tile_stride(row_bytes);
  static constexpr int scale_row = Weight::layout().scale_row(), zero_row = Weight::layout().zero_row();
  static constexpr int scales_at = tile_rows * stride, zeros_at = scales_at + tile_rows * scale_row;
  static_assert(zeros_at + tile_rows * zero_row <= tile_size(Weight::layout()), "a tile has room for its parts");

  template <int Rows, int Threads>
  __device__ static __forceinline__ void request_side(u8* tile, int to, const u8* matrix, i64 n, int first,
                                                      int thread) {
    copy_rows_async<Rows * scale_row, 1, Threads>(tile + scales_at + to * scale_row, 0,
                                                  matrix + Weight::scales_at(n) + i64(first) * scale_row, thread);
    copy_rows_async<Rows * zero_row, 1, Threads>(tile + zeros_at + to * zero_row, 0,
                                                 matrix + Weight::zeros_at(n) + i64(first) * zero_row, thread);
  }

  u32 codes[4];
  float scale[factors], shift[factors];

  __device__ __forceinline__ void block(const u8* tile, int row, u32 b, u32 t) {
    const u8* at = tile + row * stride + b * 64;
    if constexpr (whole) {
      const uint4 words = *reinterpret_cast<const uint4*>(at + t * 16);
      codes[0] = words.x;
      codes[1] = words.y;
      codes[2] = words.z;
      codes[3] = words.w;
    }
#pragma unroll
    for (int w = 0; w < factors; ++w) {
      if constexpr (!whole) {
        if (Columns % 128 != 0 && b * 128 + w * 32 >= Columns) break;
        codes[w] = *reinterpret_cast<const u32*>(at + w * 16 + t * 4);
      }
      const u32 g = (b * 128 + w * 32) / u32(Group);
      scale[w] = to_float(reinterpret_cast<const Scale*>(tile + scales_at)[row * groups + g]) * 16.0f;
      const u32 zeros = reinterpret_cast<const u32*>(tile + zeros_at)[row * zero_words + g / 8];
      // 1 + zero/16, through the mantissa of 1
      shift[w] = __uint_as_float(((zeros >> (g % 8 * 4)) & 15u) << 19 | 0x3f800000u);
    }
  }
  __device__ __forceinline__ void pairs(int w, const float*, u32 (&out)[4]) const {
    CodePairs<T>::unpack(codes[w], out);
  }
};

// ---- in the portable order

template <class Scale, int Group, int Columns, bool Permuted>
struct Block<Int4<Scale, Group, Columns, Permuted>> {
  using Weight = Int4<Scale, Group, Columns, Permuted>;
  typename Weight::Piece piece;

  __device__ __forceinline__ void load(const u8* matrix, i64 n, int row, int b) {
    piece = Weight::load(matrix, n, row, 0, u32(b));
  }

  /// A code q at bits 19..22 under the exponent of 1 is 1 + q / 16, at bits 15..18 1 + q / 256. With 16-bit scales
  /// (1 + q / m) * m s - (m + z) s is exact, and so equal to (q - z) s.
  __device__ __forceinline__ void values(int b, const float*, float (&w)[32]) const {
    constexpr int low[4] = {6, 3, 7, 2}, high[4] = {1, 5, 0, 4};  // columns at those bits after each turn by 8
    const u32 words[4] = {piece.codes.x, piece.codes.y, piece.codes.z, piece.codes.w};
    const float scale = to_float(piece.scale), zero = Weight::zero_of(piece, u32(b));
    const float high_scale = portable::mul(16.0f, scale),
                high_offset = -portable::mul(portable::add(16.0f, zero), scale);
    const float low_scale = portable::mul(256.0f, scale),
                low_offset = -portable::mul(portable::add(256.0f, zero), scale);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int turn = 0; turn < 4; ++turn) {
        const u32 word = turn == 0 ? words[i] : __funnelshift_r(words[i], words[i], 8 * turn);
        const float a = __uint_as_float(masked_or(word, 0x00078000u, 0x3f800000u));
        const float c = __uint_as_float(masked_or(word, 0x00780000u, 0x3f800000u));
        if constexpr (sizeof(Scale) == 2) {
          w[8 * i + low[turn]] = portable::fma(a, low_scale, low_offset);
          w[8 * i + high[turn]] = portable::fma(c, high_scale, high_offset);
        } else {
          w[8 * i + low[turn]] = portable::int4_weight(portable::fma(a, 256.0f, -256.0f), zero, scale);
          w[8 * i + high[turn]] = portable::int4_weight(portable::fma(c, 16.0f, -16.0f), zero, scale);
        }
      }
  }
};

// ---- from checkpoints

// How their layouts answer for a code [k, column], and for a zero [g, column].

struct Awq {
  __device__ static u32 nibble(const void* words, i64 row, i64 column, i64 n) {
    // nibble i of a word is column {0, 2, 4, 6, 1, 3, 5, 7}[i] of its eight
    const u32 place = u32(column % 8), i = place % 2 == 0 ? place / 2 : 4 + place / 2;
    return (static_cast<const u32*>(words)[row * (n / 8) + column / 8] >> (4 * i)) & 15u;
  }
  __device__ static u32 code(const void* words, i64 k, i64 column, i64 n, i64) { return nibble(words, k, column, n); }
  __device__ static u32 zero(const void* words, i64 g, i64 column, i64 n, u32) { return nibble(words, g, column, n); }
};

struct Gptq {
  __device__ static u32 code(const void* words, i64 k, i64 column, i64 n, i64) {
    return (static_cast<const u32*>(words)[k / 8 * n + column] >> (4 * (k % 8))) & 15u;
  }
  __device__ static u32 zero(const void* words, i64 g, i64 column, i64 n, u32 offset) {
    const u32 word = static_cast<const u32*>(words)[g * ((n + 7) / 8) + column / 8] + offset;  // with its carries
    return (word >> (4 * (column % 8))) & 15u;
  }
};

/// Scales and zeros. Grid: ceil(n / threads) blocks.
template <class Format, class Weight>
__global__ void __launch_bounds__(threads_of::repack) repack_scales(const RepackParams p) {
  using Scale = typename Weight::Scale;
  const i64 column = i64(blockIdx.x) * threads_of::repack + threadIdx.x, row = p.first_row + column;
  if (column >= p.n) return;
  constexpr int groups = Weight::layout().groups(), zero_words = Weight::layout().zero_words();
  u8* matrix = static_cast<u8*>(p.matrix);
  Scale* scales = reinterpret_cast<Scale*>(matrix + Weight::scales_at(p.n_total)) + row * groups;
  u32* zeros = reinterpret_cast<u32*>(matrix + Weight::zeros_at(p.n_total)) + row * zero_words;
  for (int g = 0; g < groups; ++g) scales[g] = static_cast<const Scale*>(p.scales)[i64(g) * p.n + column];
  for (int w = 0; w < zero_words; ++w) {
    u32 word = 0;
    for (int g = 8 * w; g < min(8 * w + 8, groups); ++g) {
      const u32 zero = p.zeros == nullptr ? 8u : Format::zero(p.zeros, g, column, p.n, p.zero_offset);
      word |= zero << (4 * (g % 8));
    }
    zeros[w] = word;
  }
}

}  // namespace fpf::kernel
