// Weight matrices as the decode kernels read them: one allocation each, one pointer, the codes of an output
// row contiguous along the reduction. repack.cuh makes them from the checkpoints' layouts, losslessly.
//
//   Int4   codes   u32 [n, K/8]            see below
//          scales  Scale [n, groups]       as stored; groups = ceil(K / Group)
//          zeros   u32 [n, ceil(groups/8)] nibble g % 8 of word g / 8, from the low end
//          columns i32 [K]                 only with Permuted: where column k of x stands among the stored
//          columns
//   Nf4    codes   u32 [n, K/8]            see below
//          absmax  float [n, K/64]         nested ones expanded
//          map     float [16]
//   Dense  T [n, K]
// Every part begins on a multiple of 16 bytes.
//
// Codes: a word holds the 4-bit codes of columns 8w..8w+7. Column 8w+c has nibble j = c/2 when c is even, 4 +
// c/2 when it is odd, and nibble j lies at bits 4j+3..4j+6, cyclically. Each turn of the word by 8 bits then
// brings two nibbles to bits 15..22, the top of a float's mantissa, and each shift by 4 brings two columns 2i
// and 2i+1 to bits 3..6 and 19..22, the top of two bfloat16s' mantissas: unpacking needs no conversion.
#pragma once

#include <fpf/kernel/shared/common.cuh>

namespace fpf::kernel {

__host__ __device__ constexpr i64 padded16(i64 bytes) { return (bytes + 15) / 16 * 16; }

template <class ScaleType, int GroupSize, int Columns, bool PermutedColumns>
struct Int4 {
  using Scale = ScaleType;
  static constexpr int K = Columns;
  static constexpr int group = GroupSize;  // columns that share a scale; a multiple of 32
  static constexpr int groups = (K + group - 1) / group;
  static constexpr bool permuted = PermutedColumns;
  static constexpr int chunk = 32;  // columns in 16 bytes of codes
  static_assert(K % 32 == 0, "a packed matrix needs a reduction length that is a multiple of 32");
  static_assert(group % 32 == 0, "a packed matrix needs groups of a multiple of 32 columns");

  __host__ __device__ static constexpr i64 codes_bytes(i64 n) { return n * K / 2; }
  __host__ __device__ static constexpr i64 scales_at(i64 n) { return codes_bytes(n); }
  __host__ __device__ static constexpr i64 zeros_at(i64 n) {
    return scales_at(n) + padded16(n * groups * i64(sizeof(Scale)));
  }
  static constexpr int zero_words = (groups + 7) / 8;
  __host__ __device__ static constexpr i64 columns_at(i64 n) { return zeros_at(n) + padded16(n * zero_words * 4); }
  __host__ __device__ static constexpr i64 bytes(i64 n) { return columns_at(n) + (permuted ? K * 4 : 0); }

  __device__ static __forceinline__ u32 group_of(u32 index) { return index * u32(chunk) / u32(group); }

  /// What one thread holds of one row: 32 codes, their scale and the word with their zero. load() takes row
  /// `row` + i, with i known when compiling.
  struct Piece {
    uint4 codes;
    Scale scale;
    u32 zeros;
  };

  __device__ static __forceinline__ Piece load(const u8* matrix, i64 n, int row, int i, u32 index) {
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
};

/// bitsandbytes' 4-bit NormalFloat. A weight is map[code] * absmax, multiplied in float32 and rounded once to
/// T, as the format says.
template <class T, int Columns>
struct Nf4 {
  static constexpr int K = Columns;
  static constexpr int block = 64;
  static constexpr bool permuted = false;
  static constexpr int chunk = 32;
  static_assert(K % block == 0, "NF4 blocks of 64 weights must not straddle rows");

  __host__ __device__ static constexpr i64 absmax_at(i64 n) { return n * K / 2; }
  __host__ __device__ static constexpr i64 map_at(i64 n) { return absmax_at(n) + padded16(n * (K / block) * 4); }
  __host__ __device__ static constexpr i64 bytes(i64 n) { return map_at(n) + 64; }

  struct Piece {
    uint4 codes;
    float absmax;
  };
  struct Input {
    float x[32];
  };

  __device__ static __forceinline__ Piece load(const u8* matrix, i64 n, int row, int i, u32 index) {
    const float* absmax = reinterpret_cast<const float*>(matrix + absmax_at(n)) +
                          (i64(row) * (K / block) + index * u32(chunk) / u32(block));
    return {load_stream(matrix + i64(row) * (K / 2) + index * 16 + i * (K / 2)), load_global(absmax + i * (K / block))};
  }

  template <class Load>
  __device__ static __forceinline__ void prepare(Input& in, Load x_of_column) {
#pragma unroll
    for (int k = 0; k < 32; ++k) in.x[k] = x_of_column(k);
  }

  /// Byte offset into the map of column c's code in a word.
  __device__ static __forceinline__ u32 map_offset(u32 word, int c) {
    const int low_bit = (4 * (c % 2 == 0 ? c / 2 : 4 + c / 2) + 3) % 32;  // bring the nibble to bits 2..5
    return __funnelshift_r(word, word, (low_bit + 30) % 32) & 0x3cu;
  }

  /// `map` in shared memory: 16 words in 16 banks, so that any 32 lanes read it at once.
  __device__ static __forceinline__ float dot(const Piece& piece, const Input& in, u32, const float* map) {
    const u32 words[4] = {piece.codes.x, piece.codes.y, piece.codes.z, piece.codes.w};
    const char* base = reinterpret_cast<const char*>(map);
    float sum = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#pragma unroll
      for (int c = 0; c < 8; c += 2) {
        const float a = *reinterpret_cast<const float*>(base + map_offset(words[w], c)) * piece.absmax;
        const float b = *reinterpret_cast<const float*>(base + map_offset(words[w], c + 1)) * piece.absmax;
        if constexpr (sizeof(T) == 4) {
          sum = fmaf(in.x[8 * w + c], a, sum);
          sum = fmaf(in.x[8 * w + c + 1], b, sum);
        } else {
          const float2 weights = unpack<T>(pack<T>(a, b));
          sum = fmaf(in.x[8 * w + c], weights.x, sum);
          sum = fmaf(in.x[8 * w + c + 1], weights.y, sum);
        }
      }
    }
    return sum;
  }
};

/// Weights in the activations' type.
template <class T, int Columns>
struct Dense {
  static constexpr int K = Columns;
  static constexpr bool permuted = false;
  static constexpr int chunk = per_vector<T>;
  static_assert(K % chunk == 0, "a dense matrix needs rows of a multiple of 16 bytes");

  __host__ __device__ static constexpr i64 bytes(i64 n) { return n * K * i64(sizeof(T)); }

  struct Piece {
    uint4 values;
  };
  struct Input {
    float x[chunk];
  };

  __device__ static __forceinline__ Piece load(const u8* matrix, i64, int row, int i, u32 index) {
    return {load_stream(matrix + i64(row) * i64(K * sizeof(T)) + index * 16 + i * i64(K * sizeof(T)))};
  }

  template <class Load>
  __device__ static __forceinline__ void prepare(Input& in, Load x_of_column) {
#pragma unroll
    for (int k = 0; k < chunk; ++k) in.x[k] = x_of_column(k);
  }

  __device__ static __forceinline__ float dot(const Piece& piece, const Input& in, u32, const float*) {
    float values[chunk], sum = 0;
    widen<T>(piece.values, values);
#pragma unroll
    for (int k = 0; k < chunk; ++k) sum = fmaf(in.x[k], values[k], sum);
    return sum;
  }
};

/// Whether a format needs its code map in shared memory.
template <class Weight>
inline constexpr bool has_map = false;
template <class T, int K>
inline constexpr bool has_map<Nf4<T, K>> = true;

}  // namespace fpf::kernel
