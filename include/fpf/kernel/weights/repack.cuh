// From the checkpoints' layouts to the packed one (packed.cuh) when a model is loaded, and from there to
// dense matrices for products with many rows. Every code, scale and zero keeps its bits; only their places
// change.
#pragma once

#include <fpf/kernel/shared/params.hpp>
#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

/// Puts the eight codes of columns 8w.. into a packed word.
__device__ __forceinline__ u32 pack_codes(const u32 (&codes)[8]) {
  u32 word = 0;
#pragma unroll
  for (int c = 0; c < 8; ++c) word |= codes[c] << (4 * (c % 2 == 0 ? c / 2 : 4 + c / 2));
  return __funnelshift_l(word, word, 3);
}

// How the checkpoints' formats answer for a code [k, column], and for a zero [g, column].

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

struct BitsAndBytes {
  __device__ static u32 code(const void* bytes, i64 k, i64 column, i64, i64 columns) {
    const i64 element = column * columns + k;  // row-major over [n, K], the even element in the high nibble
    return (static_cast<const u8*>(bytes)[element / 2] >> (element % 2 == 0 ? 4 : 0)) & 15u;
  }
};

/// Codes, and with GPTQ's g_idx the columns' places. Grid: (ceil(n / 64), K / 32) blocks of (64, 4).
template <class Format, class Weight>
__global__ void __launch_bounds__(256) repack_codes(const RepackParams p) {
  const i64 row = i64(blockIdx.x) * 64 + threadIdx.x, w = i64(blockIdx.y) * 4 + threadIdx.y;
  u8* matrix = static_cast<u8*>(p.matrix);
  if constexpr (Weight::permuted) {
    if (blockIdx.x == 0 && threadIdx.x < 8 && p.first_row == 0) {
      const i64 stored = w * 8 + threadIdx.x;
      reinterpret_cast<i32*>(matrix + Weight::columns_at(p.n_total))[p.order[stored]] = i32(stored);
    }
  }
  if (row >= p.n) return;
  u32 codes[8];
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    const i64 stored = w * 8 + c, k = Weight::permuted ? p.order[stored] : stored;
    codes[c] = Format::code(p.codes, k, row, p.n, Weight::K);
  }
  reinterpret_cast<u32*>(matrix)[(p.first_row + row) * (Weight::K / 8) + w] = pack_codes(codes);
}

/// Scales and zeros. Grid: ceil(n / 256) blocks of 256.
template <class Format, class Weight>
__global__ void __launch_bounds__(256) repack_scales(const RepackParams p) {
  using Scale = typename Weight::Scale;
  const i64 column = i64(blockIdx.x) * 256 + threadIdx.x, row = p.first_row + column;
  if (column >= p.n) return;
  u8* matrix = static_cast<u8*>(p.matrix);
  Scale* scales = reinterpret_cast<Scale*>(matrix + Weight::scales_at(p.n_total)) + row * Weight::groups;
  u32* zeros = reinterpret_cast<u32*>(matrix + Weight::zeros_at(p.n_total)) + row * Weight::zero_words;
  for (int g = 0; g < Weight::groups; ++g) scales[g] = static_cast<const Scale*>(p.scales)[i64(g) * p.n + column];
  for (int w = 0; w < Weight::zero_words; ++w) {
    u32 word = 0;
    for (int g = 8 * w; g < min(8 * w + 8, Weight::groups); ++g) {
      const u32 zero = p.zeros == nullptr ? 8u : Format::zero(p.zeros, g, column, p.n, p.zero_offset);
      word |= zero << (4 * (g % 8));
    }
    zeros[w] = word;
  }
}

/// NF4's block maxima and map. Grid: ceil(n * K / 64 / 256) blocks of 256.
template <class Weight>
__global__ void __launch_bounds__(256) repack_absmax(const RepackParams p) {
  const i64 i = i64(blockIdx.x) * 256 + threadIdx.x, each = Weight::K / Weight::block;
  u8* matrix = static_cast<u8*>(p.matrix);
  if (i < p.n * each)
    reinterpret_cast<float*>(matrix + Weight::absmax_at(p.n_total))[p.first_row * each + i] =
        static_cast<const float*>(p.scales)[i];
  if (i < 16) reinterpret_cast<float*>(matrix + Weight::map_at(p.n_total))[i] = static_cast<const float*>(p.map)[i];
}

/// The weight at a stored column of a packed row, in float32.
template <class Weight>
__device__ __forceinline__ float weight_at(const u8* matrix, i64 n, i64 row, u32 stored) {
  const u32 word = reinterpret_cast<const u32*>(matrix)[row * (Weight::K / 8) + stored / 8], c = stored % 8;
  const u32 low_bit = (4 * (c % 2 == 0 ? c / 2 : 4 + c / 2) + 3) % 32;
  const u32 code = __funnelshift_r(word, word, low_bit) & 15u;
  if constexpr (has_map<Weight>) {
    const float absmax =
        reinterpret_cast<const float*>(matrix + Weight::absmax_at(n))[row * (Weight::K / 64) + stored / 64];
    return reinterpret_cast<const float*>(matrix + Weight::map_at(n))[code] * absmax;
  } else {
    const u32 g = stored / u32(Weight::group);
    const auto scale =
        reinterpret_cast<const typename Weight::Scale*>(matrix + Weight::scales_at(n))[row * Weight::groups + g];
    const u32 zeros = reinterpret_cast<const u32*>(matrix + Weight::zeros_at(n))[row * Weight::zero_words + g / 8];
    return float(i32(code) - i32(zeros >> (g % 8 * 4) & 15u)) * to_float(scale);
  }
}

template <class Weight>
inline constexpr bool is_dense = false;
template <class T, int K>
inline constexpr bool is_dense<Dense<T, K>> = true;

/// Eight columns of a packed row -> `out`, in their own order, every value rounded once.
template <class Weight, class T>
__device__ __forceinline__ void dequantise_word(const u8* matrix, i64 n, i64 row, u32 w, T* out) {
  uint4* words = reinterpret_cast<uint4*>(out);
  if constexpr (is_dense<Weight>) {  // already in T: copied
    const uint4* in = reinterpret_cast<const uint4*>(reinterpret_cast<const T*>(matrix) + row * Weight::K + w * 8);
    for (u32 i = 0; i < 8 * sizeof(T) / 16; ++i) words[i] = in[i];
    return;
  } else {
    float values[8];
#pragma unroll
    for (u32 c = 0; c < 8; ++c) {
      u32 stored = w * 8 + c;
      if constexpr (Weight::permuted)
        stored = u32(reinterpret_cast<const i32*>(matrix + Weight::columns_at(n))[stored]);
      values[c] = weight_at<Weight>(matrix, n, row, stored);
    }
    if constexpr (sizeof(T) == 4) {
      words[0] = make_uint4(__float_as_uint(values[0]), __float_as_uint(values[1]), __float_as_uint(values[2]),
                            __float_as_uint(values[3]));
      words[1] = make_uint4(__float_as_uint(values[4]), __float_as_uint(values[5]), __float_as_uint(values[6]),
                            __float_as_uint(values[7]));
    } else {
      *words = narrow<T>(values);
    }
  }
}

/// Packed -> [n, K] in T. Grid: (n, ceil(K / 2048)) blocks of 256: eight columns a thread.
template <class Weight, class T>
__global__ void __launch_bounds__(256) dequantise(const DequantiseParams p) {
  const i64 row = blockIdx.x;
  const u32 w = blockIdx.y * 256 + threadIdx.x;
  if (w < Weight::K / 8)
    dequantise_word<Weight>(static_cast<const u8*>(p.matrix), p.n, row, w,
                            static_cast<T*>(p.out) + row * Weight::K + w * 8);
}

/// The same for one projection of all experts. Grid: (n, ceil(K / 2048), experts) blocks of 256.
template <class Weight, class T>
__global__ void __launch_bounds__(256) dequantise_stack(const StackParams p) {
  const i64 row = blockIdx.x;
  const u32 w = blockIdx.y * 256 + threadIdx.x;
  if (w >= Weight::K / 8) return;
  const Expert& expert = p.experts[blockIdx.z];
  const void* matrix = p.projection == 0 ? expert.gate : p.projection == 1 ? expert.up : expert.down;
  dequantise_word<Weight>(static_cast<const u8*>(matrix), p.n, row, w,
                          static_cast<T*>(p.out) + (i64(blockIdx.z) * p.n + row) * Weight::K + w * 8);
}

}  // namespace fpf::kernel
