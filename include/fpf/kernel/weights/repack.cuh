// From the checkpoints' layouts to the packed one when a model is loaded, and from there to dense matrices for products
// with many rows. Every code, scale and zero keeps its bits; only their places change. What stands beside the codes
// each format repacks itself.
#pragma once

#include <fpf/kernel/shared/params.hpp>
#include <fpf/kernel/weights/formats.cuh>

namespace fpf::kernel {

/// Codes of 4 bits, and with GPTQ's g_idx the columns' places. Grid: (ceil(n / repack_rows), K / 8 / repack_words)
/// blocks of (repack_rows, repack_words).
template <class Format, class Weight>
__global__ void __launch_bounds__(repack_rows* repack_words) repack_codes(const RepackParams p) {
  const i64 row = i64(blockIdx.x) * repack_rows + threadIdx.x, w = i64(blockIdx.y) * repack_words + threadIdx.y;
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

/// Eight columns of a packed row -> `out`, in their own order, every value rounded once.
template <class Weight, class T>
__device__ __forceinline__ void dequantise_word(const u8* matrix, i64 n, i64 row, u32 w, T* out) {
  uint4* words = reinterpret_cast<uint4*>(out);
  if constexpr (Weight::plain) {  // already in T: copied
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
      values[c] = Weight::value_at(matrix, n, row, stored);
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

/// Packed -> [n, K] in T. Grid: (n, ceil(K / dequantised_columns)) blocks: eight columns a thread.
template <class Weight, class T>
__global__ void __launch_bounds__(threads_of::dequantise) dequantise(const DequantiseParams p) {
  const i64 row = blockIdx.x;
  const u32 w = blockIdx.y * threads_of::dequantise + threadIdx.x;
  if (w < Weight::K / 8)
    dequantise_word<Weight>(static_cast<const u8*>(p.matrix), p.n, row, w,
                            static_cast<T*>(p.out) + row * Weight::K + w * 8);
}

/// The same for one projection of all experts. Grid: (n, ceil(K / dequantised_columns), experts) blocks.
template <class Weight, class T>
__global__ void __launch_bounds__(threads_of::dequantise) dequantise_stack(const StackParams p) {
  const i64 row = blockIdx.x;
  const u32 w = blockIdx.y * threads_of::dequantise + threadIdx.x;
  if (w >= Weight::K / 8) return;
  const Expert& expert = p.experts[blockIdx.z];
  const void* matrix = p.projection == 0 ? expert.gate : p.projection == 1 ? expert.up : expert.down;
  dequantise_word<Weight>(static_cast<const u8*>(matrix), p.n, row, w,
                          static_cast<T*>(p.out) + (i64(blockIdx.z) * p.n + row) * Weight::K + w * 8);
}

}  // namespace fpf::kernel
