// What shared/layout.hpp is, for the portable execution's kernels (portable/*.cuh). Where a kernel has a struct for its
// shared memory, a static_assert beside it holds the struct to the size here.
#pragma once

#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/portable_arithmetic.hpp>

namespace fpf::kernel {

/// Up to here rows go through kernels of their own, which read each weight once.
inline constexpr int portable_few_rows = 8;

/// Floats between blocks of 32 values in shared memory: neighbouring lanes read neighbouring blocks without conflicts.
inline constexpr int block_stride = portable::block + 4;

/// PortableStage: x [k], sums of every block of `outputs` rows, an NF4 map.
constexpr int portable_stage_bytes(int k, int outputs) {
  const int blocks = portable::blocks_of(k);
  return 4 * (blocks * block_stride + outputs * (blocks + 1) + 16);
}

/// PortableDownStage: the same of every choice, without a map.
constexpr int portable_down_bytes(int k, int choices, int outputs) {
  const int blocks = portable::blocks_of(k);
  return 4 * choices * (blocks * block_stride + outputs * (blocks + 1));
}

/// Of a product with many rows: rows and output features of a block, floats between the columns' values in shared
/// memory.
inline constexpr int portable_tile = 128, portable_tile_stride = portable_tile + 4;

/// Its shared memory, in floats: a block of columns of x, of the weights, an NF4 map, and where columns are permuted
/// the column of x that stands at each stored one.
inline constexpr int portable_tile_weights_at = portable::block * portable_tile_stride,
                     portable_tile_map_at = 2 * portable_tile_weights_at,
                     portable_tile_columns_at = portable_tile_map_at + 16;
constexpr int portable_tile_bytes(int k, bool permuted) { return 4 * (portable_tile_columns_at + (permuted ? k : 0)); }

/// Blocks of positions that attend on their own.
constexpr int position_blocks(int positions) { return ceil_div(positions, portable::position_block); }

inline constexpr int portable_most_dimensions = 256;  // of a head

/// PortableAttendStage of `group` query heads on one kv head, keys and values of `element` bytes.
constexpr int portable_attend_bytes(int group, int head_dim, int element) {
  const int positions = portable::position_block, blocks = head_dim / portable::block;
  const int floats = (group + 1) * (blocks * block_stride + portable::most_segments + 1) + positions * most_group +
                     group * positions + 3 * head_dim;
  return floats * 4 + positions * (2 * head_dim * element + blocks * 16);
}

namespace threads_of {

inline constexpr int portable_gemm = 256, portable_attend = 160, portable_join = 128, portable_group = 1024;
inline constexpr int portable_values = 256;  // of what takes a value, a logit or a block of logits a thread

}  // namespace threads_of

}  // namespace fpf::kernel
