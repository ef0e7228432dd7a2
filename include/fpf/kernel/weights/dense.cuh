// Unquantised weights: DenseLayout.
#pragma once

#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

/// Weights in the activations' type.
template <class T, int Columns>
struct Dense {
  static constexpr int K = Columns, chunk = DenseLayout{K, int(sizeof(T))}.chunk();
  static constexpr bool permuted = false, mapped = false, plain = true;
  static_assert(K % chunk == 0, "a dense matrix needs rows of a multiple of 16 bytes");

  __host__ __device__ static constexpr DenseLayout layout() { return {K, int(sizeof(T))}; }

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

// ---- a row of a tile

template <class T, int Columns>
struct TileRow<Dense<T, Columns>, T> {
  static constexpr int factors = 0;
  static constexpr bool columns_by_thread = false;
  static constexpr int row_bytes = Dense<T, Columns>::layout().row_bytes(), stride = tile_stride(row_bytes);

  template <int Rows, int Threads>
  __device__ static __forceinline__ void request_side(u8*, int, const u8*, i64, int, int) {}

  uint4 values[4];

  __device__ __forceinline__ void block(const u8* tile, int row, u32 b, u32 t) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const u32 column = b * 128 + w * 32 + t * 8;
      values[w] = Columns % 128 == 0 || column < Columns
                      ? *reinterpret_cast<const uint4*>(tile + row * stride + column * 2)
                      : make_uint4(0, 0, 0, 0);
    }
  }
  __device__ __forceinline__ void pairs(int w, const float*, u32 (&out)[4]) const {
    out[0] = values[w].x;
    out[1] = values[w].y;
    out[2] = values[w].z;
    out[3] = values[w].w;
  }
};

// ---- in the portable order

template <class T, int Columns>
struct Block<Dense<T, Columns>> {
  static constexpr int width = per_vector<T>, vectors = 32 / width;
  uint4 parts[vectors];

  __device__ __forceinline__ void load(const u8* matrix, i64, int row, int b) {
    const u8* at = matrix + (i64(row) * Columns + b * 32) * i64(sizeof(T));
#pragma unroll
    for (int v = 0; v < vectors; ++v)
      if (Columns % 32 == 0 || b * 32 + v * width < Columns) parts[v] = load_stream(at + v * 16);
  }
  __device__ __forceinline__ void values(int, const float*, float (&w)[32]) const {
#pragma unroll
    for (int v = 0; v < vectors; ++v) widen<T>(parts[v], *reinterpret_cast<float(*)[width]>(w + v * width));
  }
};

}  // namespace fpf::kernel
