// Sixteen output rows of a packed matrix in shared memory, and how the tensor cores read them. The copy is
// requested before a kernel waits for its predecessor and takes no registers, so that memory works through
// the whole chain of kernels; products begin when it is there.
//
// mma.m16n8k16 multiplies weights (16 x 16) by x (16 x 8). Which columns stand at which k is free as long as
// both sides agree. Of each 128 columns ("block"), thread t of four takes in step w (0..3) eight columns:
//   32 t + 8 w  where it reads 16 bytes of codes at once (one scale serves the block),
//   32 w + 8 t  where scales change within the block, and for dense weights.
#pragma once

#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

/// c += a (16 x 16, row-major pairs) * b (16 x 8)
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  if constexpr (same<T, Bf16>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Two ones of T.
template <class T>
inline constexpr u32 pair_of_ones = same<T, Bf16> ? 0x3f803f80u : 0x3c003c00u;

/// A warp's share of a tile's blocks: successive ones. Their copies come in Batches, and products follow
/// them.
template <class Weight, int Warps, int Batches>
struct Share {
  static constexpr int blocks = ceil_div(Weight::K, tile_columns), each = (blocks + Warps - 1) / Warps;
  static constexpr int batches = Batches < each ? Batches : each;
  static constexpr int per_batch = (each + batches - 1) / batches;  // blocks
  static constexpr bool full = Weight::K % tile_columns == 0 && blocks % Warps == 0 && each % per_batch == 0;
};

/// Copies one batch of a warp's share of Rows rows from `first` on to the tile's rows from `to` on, by the
/// warp: rows one after the other, so that a request covers as many successive bytes as the batch has of a
/// row.
template <class Weight, class T, class S, int Rows>
__device__ __forceinline__ void request_batch(u8* tile, int to, const u8* matrix, int first, int share, int batch) {
  using Row = TileRow<Weight, T>;
  constexpr int block_bytes = Row::row_bytes / (Weight::K / 32) * 4, per_row = S::per_batch * block_bytes / 16;
  const u32 begin = u32(share * S::each + batch * S::per_batch) * block_bytes, lane = threadIdx.x % 32;
  const u8* from = matrix + i64(first) * Row::row_bytes + begin;
  u8* target = tile + to * Row::stride + begin;
  constexpr int count = (Rows * per_row + 31) / 32, unrolled = count > 16 ? 4 : count;
#pragma unroll(unrolled)
  for (int i = 0; i < count; ++i) {
    const u32 v = u32(i) * 32 + lane, row = v / per_row, at = v % per_row * 16;
    const bool inside =
        (Rows * per_row % 32 == 0 || v < Rows * per_row) &&
        (S::full || (begin + at < u32(Row::row_bytes) && at < (S::each - batch * S::per_batch) * block_bytes));
    if (inside) copy_async(target + row * Row::stride + at, from + row * Row::row_bytes + at);
  }
}

/// Sixteen rows in the share's batches, after the side data.
template <class Weight, class T, class S>
__device__ __forceinline__ void request_share(u8* tile, const u8* matrix, int first, int share) {
  if constexpr (S::batches > 1) commit_copies();
#pragma unroll
  for (int batch = 0; batch < S::batches; ++batch) {
    request_batch<Weight, T, S, tile_rows>(tile, 0, matrix, first, share, batch);
    commit_copies();
  }
}

/// The same with two matrices: into one tile, eight rows of each, or into two, sixteen of each.
template <class Weight, class T, class S>
__device__ __forceinline__ void request_halves(u8* tile, const u8* upper, const u8* lower, int first, int share) {
  if constexpr (S::batches > 1) commit_copies();
#pragma unroll
  for (int batch = 0; batch < S::batches; ++batch) {
    request_batch<Weight, T, S, half_tile>(tile, 0, upper, first, share, batch);
    request_batch<Weight, T, S, half_tile>(tile, half_tile, lower, first, share, batch);
    commit_copies();
  }
}
template <class Weight, class T, class S>
__device__ __forceinline__ void request_two(u8* tile, const u8* matrix, u8* tile2, const u8* matrix2, int first,
                                            int share) {
  if constexpr (S::batches > 1) commit_copies();
#pragma unroll
  for (int batch = 0; batch < S::batches; ++batch) {
    request_batch<Weight, T, S, tile_rows>(tile, 0, matrix, first, share, batch);
    request_batch<Weight, T, S, tile_rows>(tile2, 0, matrix2, first, share, batch);
    commit_copies();
  }
}

/// What must be there before the first block: the side data, and all codes when they come at once. A barrier
/// must follow.
template <class S>
__device__ __forceinline__ void wait_side() {
  wait_copies(S::batches > 1 ? S::batches : 0);
}
/// Block i of the warp's share is there, for the whole warp.
template <class S>
__device__ __forceinline__ void wait_block(int i) {
  if (S::batches > 1 && i % S::per_batch == 0) {
    wait_copies(S::batches - 1 - i / S::per_batch);
    __syncwarp();
  }
}

/// sums += block i of a warp's share of the tile's products with the staged rows of x: sums[0], [1] are
/// output row g with rows 2t, 2t+1 of x, sums[2], [3] output row g + 8, in lane 4 g + t. staged: rows
/// x_stride elements apart.
template <class Weight, class T, class S, class StagedAt>
__device__ __forceinline__ void multiply_block(const u8* tile, const T* staged, int x_stride, int rows, int share,
                                               int i, const float* map, StagedAt staged_at, float (&sums)[4]) {
  using Row = TileRow<Weight, T>;
  constexpr int K = Weight::K;
  const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, b = u32(share * S::each + i);
  if (!S::full && b >= S::blocks) return;
  const T* mine =
      staged + min(int(g), rows - 1) * x_stride;  // past the last row the last one again: nobody takes the sums
  Row low, high;
  low.block(tile, g, b, t);
  high.block(tile, g + 8, b, t);
  float part[2][4] = {}, x_part[2][4] = {};  // two chains each, so that the units need not wait for themselves
  constexpr u32 one = pair_of_ones<T>;
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    if (K % 128 != 0 && !Row::columns_by_thread && b * 128 + w * 32 >= K) break;
    const u32 column = b * 128 + (Row::columns_by_thread ? 32 * t + 8 * w : 32 * w + 8 * t);
    uint4 x = *reinterpret_cast<const uint4*>(mine + staged_at(K % 128 == 0 || column < K ? column : 0));
    if (K % 128 != 0 && column >= K) x = make_uint4(0, 0, 0, 0);
    u32 lower[4], upper[4];
    low.pairs(w, map, lower);
    high.pairs(w, map, upper);
    mma<T>(part[w % 2], lower[0], upper[0], lower[1], upper[1], x.x, x.y);
    mma<T>(part[w % 2], lower[2], upper[2], lower[3], upper[3], x.z, x.w);
    if constexpr (Row::factors != 0) {
      mma<T>(x_part[w % 2], one, one, one, one, x.x, x.y);
      mma<T>(x_part[w % 2], one, one, one, one, x.z, x.w);
    }
    if constexpr (Row::factors == 4) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Row& row = j < 2 ? low : high;
        sums[j] = fmaf(row.scale[w], fmaf(-row.shift[w], x_part[w % 2][j % 2], part[w % 2][j]), sums[j]);
        part[w % 2][j] = 0;
      }
      x_part[w % 2][0] = x_part[w % 2][1] = 0;
    }
  }
  if constexpr (Row::factors != 4) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float both = part[0][j] + part[1][j];
      if constexpr (Row::factors == 1) {
        const Row& row = j < 2 ? low : high;
        sums[j] = fmaf(row.scale[0], fmaf(-row.shift[0], x_part[0][j % 2] + x_part[1][j % 2], both), sums[j]);
      } else {
        sums[j] += both;
      }
    }
  }
}

}  // namespace fpf::kernel
