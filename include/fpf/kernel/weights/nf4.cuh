// bitsandbytes' NF4: Nf4Layout.
#pragma once

#include <fpf/kernel/shared/params.hpp>
#include <fpf/kernel/shared/portable_arithmetic.hpp>
#include <fpf/kernel/weights/four_bits.cuh>
#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

/// bitsandbytes' 4-bit NormalFloat. A weight is map[code] * absmax, multiplied in float32 and rounded once to
/// T, as the format says.
template <class T, int Columns>
struct Nf4 {
  static constexpr int K = Columns, block = Nf4Layout::block, chunk = Nf4Layout::chunk();
  static constexpr bool permuted = false, mapped = true, plain = false;
  static_assert(K % Nf4Layout::columns() == 0, "NF4 blocks of 64 weights must not straddle rows");

  __host__ __device__ static constexpr Nf4Layout layout() { return {K}; }
  __device__ static __forceinline__ i64 absmax_at(i64 n) { return Nf4Layout::absmax_at(n, K); }
  __device__ static __forceinline__ i64 map_at(i64 n) { return Nf4Layout::map_at(n, K); }

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

  /// The weight at a stored column, in float32.
  __device__ static __forceinline__ float value_at(const u8* matrix, i64 n, i64 row, u32 stored) {
    const u32 code = code_at<K>(matrix, row, stored);
    const float absmax = reinterpret_cast<const float*>(matrix + absmax_at(n))[row * (K / block) + stored / block];
    return reinterpret_cast<const float*>(matrix + map_at(n))[code] * absmax;
  }
};

// ---- a row of a tile

template <class T, int Columns>
struct TileRow<Nf4<T, Columns>, T> {
  using Weight = Nf4<T, Columns>;
  static constexpr int factors = 0;
  static constexpr bool columns_by_thread = true;
  static constexpr int row_bytes = Weight::layout().row_bytes(), stride = tile_stride(row_bytes);
  static constexpr int each = Columns / Weight::block, absmax_at = tile_rows * stride;
  static_assert(absmax_at + tile_rows * each * 4 <= tile_size(Weight::layout()), "a tile has room for its parts");

  template <int Rows, int Threads>
  __device__ static __forceinline__ void request_side(u8* tile, int to, const u8* matrix, i64 n, int first,
                                                      int thread) {
    copy_rows_async<Rows * each * 4, 1, Threads>(tile + absmax_at + to * each * 4, 0,
                                                 matrix + Weight::absmax_at(n) + i64(first) * each * 4, thread);
  }

  uint4 codes;
  float absmax;

  __device__ __forceinline__ void block(const u8* tile, int row, u32 b, u32 t) {
    const u32 chunk = b * 4 + t;
    if (Columns % 128 != 0 && chunk >= Columns / 32) {
      codes = make_uint4(0, 0, 0, 0);
      absmax = 0;
      return;
    }
    codes = *reinterpret_cast<const uint4*>(tile + row * stride + chunk * 16);
    absmax = reinterpret_cast<const float*>(tile + absmax_at)[row * each + chunk / 2];
  }
  __device__ __forceinline__ void pairs(int w, const float* map, u32 (&out)[4]) const {
    const char* base = reinterpret_cast<const char*>(map);
    const u32 word = word_of(codes, w);
#pragma unroll
    for (int p = 0; p < 4; ++p)
      out[p] = pack<T>(*reinterpret_cast<const float*>(base + Weight::map_offset(word, 2 * p)) * absmax,
                       *reinterpret_cast<const float*>(base + Weight::map_offset(word, 2 * p + 1)) * absmax);
  }
};

// ---- in the portable order

template <class T, int Columns>
struct Block<Nf4<T, Columns>> {
  using Weight = Nf4<T, Columns>;
  typename Weight::Piece piece;

  __device__ __forceinline__ void load(const u8* matrix, i64 n, int row, int b) {
    piece = Weight::load(matrix, n, row, 0, u32(b));
  }
  __device__ __forceinline__ void values(int, const float* map, float (&w)[32]) const {
    const u32 words[4] = {piece.codes.x, piece.codes.y, piece.codes.z, piece.codes.w};
    const char* base = reinterpret_cast<const char*>(map);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int c = 0; c < 8; ++c)
        w[8 * i + c] =
            portable::mul(*reinterpret_cast<const float*>(base + Weight::map_offset(words[i], c)), piece.absmax);
  }
};

// ---- from checkpoints

/// How their layout answers for a code [k, column].
struct BitsAndBytes {
  __device__ static u32 code(const void* bytes, i64 k, i64 column, i64, i64 columns) {
    const i64 element = column * columns + k;  // row-major over [n, K], the even element in the high nibble
    return (static_cast<const u8*>(bytes)[element / 2] >> (element % 2 == 0 ? 4 : 0)) & 15u;
  }
};

/// Blocks' maxima and the map. Grid: ceil(n * K / 64 / threads) blocks.
template <class Weight>
__global__ void __launch_bounds__(threads_of::repack) repack_absmax(const RepackParams p) {
  const i64 i = i64(blockIdx.x) * threads_of::repack + threadIdx.x, each = Weight::K / Weight::block;
  u8* matrix = static_cast<u8*>(p.matrix);
  if (i < p.n * each)
    reinterpret_cast<float*>(matrix + Weight::absmax_at(p.n_total))[p.first_row * each + i] =
        static_cast<const float*>(p.scales)[i];
  if (i < 16) reinterpret_cast<float*>(matrix + Weight::map_at(p.n_total))[i] = static_cast<const float*>(p.map)[i];
}

}  // namespace fpf::kernel
