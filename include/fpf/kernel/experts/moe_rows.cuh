// The chosen experts' MLPs on the tensor cores, for 1 to 8 rows: gate and up with SiLU in one launch, down
// with the router's weights and the sum in another. Rows that share an expert share its weights' way through
// the chip. (moe_one.cuh has one row, whose choice the kernels make themselves.)
//
// Round: results are rounded to T after each operation, as a framework's separate operations are; else
// float32 within a kernel. The sum over experts goes by ascending expert id, the order of transformers' loop.
#pragma once

#include <fpf/kernel/product/rows.cuh>

namespace fpf::kernel {

template <class T, bool Round>
__device__ __forceinline__ float after_op(float value) {
  return Round ? rounded<T>(value) : value;
}

template <class T, bool Round>
__device__ __forceinline__ float silu_mul(float gate, float up) {
  gate = after_op<T, Round>(gate);
  up = after_op<T, Round>(up);
  return after_op<T, Round>(gate / (1.0f + expf(-gate))) * up;
}

/// One block's work: an expert and the rows that chose it.
struct ExpertRows {
  int expert;
  int count;
  int row[most_rows], slot[most_rows];
};

/// Fills `work` for the pair (row, slot) number `pair`, when it is the first that names its expert; else
/// count is 0. By one thread; ids [rows, TopK].
template <int TopK>
__device__ __forceinline__ void gather_rows(ExpertRows& work, const i32* ids, int rows, int pair) {
  work.expert = ids[pair];
  work.count = 0;
  for (int other = 0; other < rows * TopK; ++other) {
    if (ids[other] != work.expert) continue;
    if (other < pair) {
      work.count = 0;
      return;
    }
    work.row[work.count] = other / TopK;
    work.slot[work.count++] = other % TopK;
  }
}

/// activated[r, slot, :] = silu(gate x_r) * (up x_r) for the experts that row r chose.
/// Grid: (Intermediate / 16, rows * TopK) blocks of 32 * Warps. Dynamic shared memory: two tiles, rows *
/// row_stride * 2.
template <class Weight, class T, int Intermediate, int TopK, int Warps, bool Round>
__global__ void __launch_bounds__(32 * Warps, blocks_for(96, 32 * Warps)) moe_gate_up_rows(const MoeParams p) {
  constexpr int threads = 32 * Warps, n = Intermediate;
  static_assert(n % tile_rows == 0, "the experts' intermediate size must be a multiple of 16");
  using S = Share<Weight, Warps, 2>;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float partial[2][Warps][most_rows][tile_rows], map[2][16];
  __shared__ ExpertRows work;
  u8 *gate_tile = dynamic, *up_tile = dynamic + tile_bytes<Weight, T>;
  T* staged = reinterpret_cast<T*>(dynamic + 2 * tile_bytes<Weight, T>);
  const int warp = int(threadIdx.x / 32), first = int(blockIdx.x) * tile_rows;
  allow_next();
  wait_for_previous();
  if (threadIdx.x == 0) gather_rows<TopK>(work, p.expert_ids, p.rows, int(blockIdx.y));
  __syncthreads();
  if (work.count == 0) return;
  const u8* gate = static_cast<const u8*>(p.experts[work.expert].gate);
  const u8* up = static_cast<const u8*>(p.experts[work.expert].up);
  if (gate == nullptr) return;  // another rank's
  TileRow<Weight, T>::template request_side<tile_rows, threads>(gate_tile, 0, gate, n, first, int(threadIdx.x));
  TileRow<Weight, T>::template request_side<tile_rows, threads>(up_tile, 0, up, n, first, int(threadIdx.x));
  request_two<Weight, T, S>(gate_tile, gate, up_tile, up, first, warp);
  load_map<Weight>(map[0], gate, n);
  load_map<Weight>(map[1], up, n);

  const auto stage_for = [&](const u8* matrix) {
    for (int j = 0; j < work.count; ++j)
      stage<Weight, T, threads>(staged + j * row_stride<Weight, T>,
                                static_cast<const T*>(p.x) + i64(work.row[j]) * Weight::K, matrix, n, int(threadIdx.x));
  };
  stage_for(gate);
  wait_side<S>();
  __syncthreads();
  float sums[4] = {}, up_sums[4] = {};
#pragma unroll 1
  for (int i = 0; i < S::each; ++i) {
    wait_block<S>(i);
    multiply_rows<Weight, T, S>(gate_tile, staged, work.count, warp, i, map[0], sums);
    if constexpr (!Weight::permuted) multiply_rows<Weight, T, S>(up_tile, staged, work.count, warp, i, map[1], up_sums);
  }
  if constexpr (Weight::permuted) {  // up may have another order of columns
    __syncthreads();
    stage_for(up);
    __syncthreads();
#pragma unroll 1
    for (int i = 0; i < S::each; ++i)
      multiply_rows<Weight, T, S>(up_tile, staged, work.count, warp, i, map[1], up_sums);
  }
  put_tile(sums, partial[0][warp], work.count);
  put_tile(up_sums, partial[1][warp], work.count);
  __syncthreads();
  for (int i = int(threadIdx.x); i < work.count * tile_rows; i += threads) {
    const int j = i / tile_rows;
    float gate_total = 0, up_total = 0;
#pragma unroll
    for (int w = 0; w < Warps; ++w) {
      gate_total += partial[0][w][j][i % tile_rows];
      up_total += partial[1][w][j][i % tile_rows];
    }
    static_cast<T*>(p.activated)[(i64(work.row[j]) * TopK + work.slot[j]) * n + first + i % tile_rows] =
        from_float<T>(silu_mul<T, Round>(gate_total, up_total));
  }
}

/// A barrier for the warps that work on one expert; all teams come to it equally often.
template <int Warps>
__device__ __forceinline__ void team_sync() {
  if constexpr (Warps == 1)
    __syncwarp();
  else
    __syncthreads();
}

/// out[r, :] = residual[r, :] + sum over r's experts of weight * (down activated), each expert by a team of
/// WarpsEach warps. Grid: Hidden / 16 blocks of 32 * Teams * WarpsEach, Teams a divisor of TopK. Dynamic
/// shared memory: Teams * (a tile + rows * row_stride * 2).
template <class Weight, class T, int Hidden, int TopK, int Teams, int WarpsEach, bool Round>
__global__ void __launch_bounds__(32 * Teams * WarpsEach, blocks_for(96, 32 * Teams * WarpsEach))
    moe_down_rows(const MoeParams p) {
  constexpr int threads = 32 * Teams * WarpsEach, n = Hidden;
  static_assert(TopK % Teams == 0, "teams share the experts evenly");
  static_assert(n % tile_rows == 0, "the hidden size must be a multiple of 16");
  using S = Share<Weight, WarpsEach, 1>;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float result[WarpsEach][most_rows * TopK][tile_rows], weight[most_rows * TopK], map[Teams][16];
  __shared__ i32 id[most_rows * TopK], rank[most_rows * TopK];
  __shared__ ExpertRows works[Teams];
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32), first = int(blockIdx.x) * tile_rows;
  const int team = warp / WarpsEach, part = warp % WarpsEach,
            member = part * 32 + lane;  // a team of warps takes an expert
  u8* tile = dynamic + team * tile_bytes<Weight, T>;
  T* staged =
      reinterpret_cast<T*>(dynamic + Teams * tile_bytes<Weight, T>) + i64(team) * p.rows * row_stride<Weight, T>;
  allow_next();
  wait_for_previous();
  for (int i = int(threadIdx.x); i < p.rows * TopK; i += threads) {
    id[i] = p.expert_ids[i];
    weight[i] = p.weights[i];
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < p.rows * TopK; i += threads) {
    int before = 0;
#pragma unroll 1
    for (int s = 0; s < TopK; ++s) before += id[i / TopK * TopK + s] < id[i];
    rank[i / TopK * TopK + before] = i % TopK;  // slots of a row by ascending expert
  }

  for (int pair = team; pair < p.rows * TopK; pair += Teams) {
    ExpertRows& work = works[team];
    if (member == 0) gather_rows<TopK>(work, id, p.rows, pair);
    team_sync<WarpsEach>();
    const u8* down = work.count == 0 ? nullptr : static_cast<const u8*>(p.experts[work.expert].down);
    if (down != nullptr) {
      TileRow<Weight, T>::template request_side<tile_rows, 32 * WarpsEach>(tile, 0, down, n, first, member);
      request_share<Weight, T, S>(tile, down, first, part);
      load_map<Weight>(map[team], down, n, member);
      for (int j = 0; j < work.count; ++j)
        stage<Weight, T, 32 * WarpsEach>(
            staged + j * row_stride<Weight, T>,
            static_cast<const T*>(p.activated) + (i64(work.row[j]) * TopK + work.slot[j]) * Weight::K, down, n, member);
      wait_side<S>();
    }
    team_sync<WarpsEach>();
    if (work.count != 0) {  // another rank's expert adds zero
      float sums[4] = {};
#pragma unroll 1
      for (int i = 0; i < (down == nullptr ? 0 : S::each); ++i)
        multiply_rows<Weight, T, S>(tile, staged, work.count, part, i, map[team], sums);
      const int g = lane / 4, t = lane % 4;
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int j = 2 * t + c;
        if (j >= work.count) continue;
        float* mine = result[part][work.row[j] * TopK + work.slot[j]];
        mine[g] = sums[c];
        mine[g + 8] = sums[2 + c];
      }
    }
    team_sync<WarpsEach>();  // before the next expert comes
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < p.rows * tile_rows; i += threads) {
    const int r = i / tile_rows, column = i % tile_rows;
    float total = 0;
#pragma unroll 1
    for (int k = 0; k < TopK; ++k) {
      const int pair = r * TopK + rank[r * TopK + k];
      float y = 0;
#pragma unroll
      for (int w = 0; w < WarpsEach; ++w) y += result[w][pair][column];
      total = after_op<T, Round>(total + after_op<T, Round>(after_op<T, Round>(y) * weight[pair]));
    }
    const i64 at = i64(r) * n + first + column;
    if (p.residual != nullptr) total += to_float(static_cast<const T*>(p.residual)[at]);
    static_cast<T*>(p.out)[at] = from_float<T>(total);
  }
}

}  // namespace fpf::kernel
