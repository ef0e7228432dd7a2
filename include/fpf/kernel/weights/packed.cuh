// What a packed weight format is to the kernels. Each is a file (int4.cuh, nf4.cuh, dense.cuh) with all that it is, its
// sizes apart (shared/layout.hpp, which plans read, too); formats.cuh lists them. A matrix is one allocation and one
// pointer, the codes of an output row contiguous along the reduction.
//
//   struct F                 columns K, chunk, permuted, mapped, plain; layout()
//     Piece, load            what one thread holds of one row: 16 bytes of codes and what belongs to them
//     Input, prepare, dot    x of as many columns, prepared once for many rows, and its product with a piece
//     value_at               one weight, in float32 (repack.cuh); where weights are `plain` they are copied instead
//   struct TileRow<F, T>     one row of a tile in shared memory, as the tensor cores' lanes read it (tile.cuh)
//   struct Block<F>          32 columns of one row, exactly as PORTABLE.md has them (portable/common.cuh)
//   how checkpoints' layouts answer for its codes, and the kernel that repacks what stands beside them (repack.cuh)
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>

namespace fpf::kernel {

/// One row of a tile (layout.hpp's tile_size) as a lane reads it:
///
///   row_bytes, stride  of its codes in memory, and between rows in the tile
///   request_side       by Threads threads, the copy of what stands beside the codes of Rows rows from `first` on, to
///                      the tile's rows from `to` on
///   block(row, b, t)   begins block b of a row
///   pairs(w, ...)      the four pairs of columns of step w
///   factors            0: the pairs are the weights; else weights are scale[.] (pairs - shift[.]), with one
///                      factor a block (1) or one a step (4)
///   columns_by_thread  steps take columns 32 t + 8 w, not 32 w + 8 t
template <class Weight, class T>
struct TileRow;

/// The codes of one block of 32 columns of one row, and what makes values of them:
///
///   load(matrix, n, row, b)     may come long before
///   values(b, map, w)           the 32 weights, fewer in a row's last block
template <class Weight>
struct Block;

__device__ __forceinline__ u32 word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/// Brings an NF4 map into shared memory, thread by thread; nothing for other formats. A barrier must follow.
template <class Weight, class Thread>
__device__ __forceinline__ void load_map(float* map, const u8* matrix, i64 n, Thread thread) {
  if constexpr (Weight::mapped)
    if (thread < 16) map[thread] = reinterpret_cast<const float*>(matrix + Weight::map_at(n))[thread];
}
template <class Weight>
__device__ __forceinline__ void load_map(float* map, const u8* matrix, i64 n) {
  load_map<Weight>(map, matrix, n, threadIdx.x);
}

}  // namespace fpf::kernel
