// The chosen experts' MLPs for one row, with float32 within the kernels: each block derives the choice from
// the router's logits by itself, which saves a launch, and down does so while gate and up still run. The
// arithmetic is moe_rows.cuh's.
#pragma once

#include <fpf/kernel/experts/moe_rows.cuh>
#include <fpf/kernel/experts/router.cuh>

namespace fpf::kernel {

/// The table of experts into shared memory before the choice is known: it is constant. copies_done() and a
/// barrier must follow.
template <int Experts, int Threads>
__device__ __forceinline__ void bring_table(const u8** pointers, const Expert* experts) {
  if constexpr (Experts % 2 == 0) {
    copy_rows_async<Experts* int(sizeof(Expert)), 1, Threads>(reinterpret_cast<u8*>(pointers), 0,
                                                              reinterpret_cast<const u8*>(experts), int(threadIdx.x));
  } else {
    for (int i = int(threadIdx.x); i < 3 * Experts; i += Threads)
      pointers[i] = reinterpret_cast<const u8* const*>(experts)[i];
  }
}

/// The choice for the record, by the warp that made it.
template <class T, int Experts, int TopK, bool Renormalise>
__device__ __forceinline__ void report(const MoeParams& p, const Choice<Experts>& choice) {
  const int lane = int(threadIdx.x % 32);
  if (blockIdx.x != 0 || blockIdx.y != 0 || p.chosen_ids == nullptr) return;
  const float weight = weight_of<T, Experts, TopK, Renormalise, false>(choice),
              margin = margin_of<Experts, TopK>(choice);
  if (lane < TopK) {
    p.chosen_ids[lane] = choice.id;
    p.chosen_weights[lane] = weight;
  }
  if (lane == 0) *p.margin = margin;
}

/// activated[slot, :] = silu(gate x) * (up x). A tile has eight rows of each, and a block Tiles of them with
/// Warps warps each: few blocks, because all must choose before the memory is asked for anything else. Grid:
/// (Intermediate / half_tile / Tiles, TopK) blocks of 32 * Tiles * Warps; the first one reports the choice. Dynamic
/// shared memory: the tiles, row_stride * 2.
template <class Weight, class T, int Intermediate, int Experts, int TopK, int Tiles, int Warps, bool Renormalise>
__global__ void __launch_bounds__(32 * Tiles * Warps, blocks_for(64, 32 * Tiles * Warps))
    moe_gate_up_one(const MoeParams p) {
  constexpr int threads = 32 * Tiles * Warps, n = Intermediate;
  static_assert(n % (half_tile * Tiles) == 0, "the experts' intermediate size must be a multiple of a block's rows");
  static_assert(Tiles * Warps >= 2, "one warp chooses, the others bring x");
  static_assert(!Weight::permuted, "gate and up in one tile need the same order of columns");
  using S = Share<Weight, Warps, 2>;
  using Row = TileRow<Weight, T>;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float partial[Tiles][Warps][tile_rows], map[16];
  __shared__ __align__(16) const u8* pointers[3 * Experts];
  __shared__ i32 expert;
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32), team = warp / Warps, part = warp % Warps;
  const int first = (int(blockIdx.x) * Tiles + team) * half_tile;
  u8* tile = dynamic + team * tile_bytes<Weight, T>;
  T* staged = reinterpret_cast<T*>(dynamic + Tiles * tile_bytes<Weight, T>);
  bring_table<Experts, threads>(pointers, p.experts);
  wait_for_previous();
  allow_next();  // and not before: the next kernel reads the router's logits before its wait

  Choice<Experts> choice;
  if (warp == 0) {
    choice = choose<T, Experts, TopK>(static_cast<const T*>(p.logits));
    if (lane == int(blockIdx.y)) expert = choice.id;
  } else {
    stage<Weight, T, threads - 32>(staged, static_cast<const T*>(p.x), nullptr, n, int(threadIdx.x) - 32);
  }
  copies_done();
  __syncthreads();
  const u8 *gate = pointers[3 * expert], *up = pointers[3 * expert + 1];
  if (gate == nullptr) {  // another rank's
    if (warp == 0) report<T, Experts, TopK, Renormalise>(p, choice);
    return;
  }
  Row::template request_side<half_tile, 32 * Warps>(tile, 0, gate, n, first, part * 32 + lane);
  Row::template request_side<half_tile, 32 * Warps>(tile, half_tile, up, n, first, part * 32 + lane);
  request_halves<Weight, T, S>(tile, gate, up, first, part);
  load_map<Weight>(map, gate, n);  // bitsandbytes has one map
  if (warp == 0) report<T, Experts, TopK, Renormalise>(p, choice);
  wait_side<S>();
  __syncthreads();
  float sums[4] = {};
#pragma unroll 1
  for (int i = 0; i < S::each; ++i) {
    wait_block<S>(i);
    multiply_rows<Weight, T, S>(tile, staged, 1, part, i, map, sums);
  }
  if (lane % 4 == 0) {
    partial[team][part][lane / 4] = sums[0];
    partial[team][part][lane / 4 + 8] = sums[2];
  }
  __syncthreads();
  if (threadIdx.x >= half_tile * Tiles) return;
  const int tile_of = int(threadIdx.x) / half_tile, row = int(threadIdx.x) % half_tile;
  float gate_total = 0, up_total = 0;
#pragma unroll
  for (int w = 0; w < Warps; ++w) {
    gate_total += partial[tile_of][w][row];
    up_total += partial[tile_of][w][row + half_tile];
  }
  static_cast<T*>(p.activated)[blockIdx.y * n + blockIdx.x * (half_tile * Tiles) + threadIdx.x] =
      from_float<T>(silu_mul<T, false>(gate_total, up_total));
}

/// The same for weights whose columns are sorted by group (GPTQ's activation order), where gate and up may
/// have different orders: sixteen rows of each. Grid: (Intermediate / 16, TopK). Dynamic shared memory: two
/// tiles, row_stride * 2.
template <class Weight, class T, int Intermediate, int Experts, int TopK, int Warps, bool Renormalise>
__global__ void __launch_bounds__(32 * Warps, blocks_for(96, 32 * Warps)) moe_gate_up_one_ordered(const MoeParams p) {
  constexpr int threads = 32 * Warps, n = Intermediate;
  static_assert(n % tile_rows == 0, "the experts' intermediate size must be a multiple of 16");
  using S = Share<Weight, Warps, 1>;
  using Row = TileRow<Weight, T>;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float partial[2][Warps][tile_rows], map[16];
  __shared__ __align__(16) const u8* pointers[3 * Experts];
  __shared__ i32 expert;
  u8 *gate_tile = dynamic, *up_tile = dynamic + tile_bytes<Weight, T>;
  T* staged = reinterpret_cast<T*>(dynamic + 2 * tile_bytes<Weight, T>);
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32), first = int(blockIdx.x) * tile_rows;
  bring_table<Experts, threads>(pointers, p.experts);
  wait_for_previous();
  allow_next();  // and not before: the next kernel reads the router's logits before its wait

  if (warp == 0) {
    const auto choice = choose<T, Experts, TopK>(static_cast<const T*>(p.logits));
    if (lane == int(blockIdx.y)) expert = choice.id;
    report<T, Experts, TopK, Renormalise>(p, choice);
  }
  copies_done();
  __syncthreads();
  const u8 *gate = pointers[3 * expert], *up = pointers[3 * expert + 1];
  if (gate == nullptr) return;  // another rank's
  Row::template request_side<tile_rows, threads>(gate_tile, 0, gate, n, first, int(threadIdx.x));
  Row::template request_side<tile_rows, threads>(up_tile, 0, up, n, first, int(threadIdx.x));
  request_two<Weight, T, S>(gate_tile, gate, up_tile, up, first, warp);
  wait_side<S>();
#pragma unroll 1
  for (int m = 0; m < 2; ++m) {
    __syncthreads();
    stage<Weight, T, threads>(staged, static_cast<const T*>(p.x), m == 0 ? gate : up, n, int(threadIdx.x));
    __syncthreads();
    float mine[4] = {};
#pragma unroll 1
    for (int i = 0; i < S::each; ++i)
      multiply_rows<Weight, T, S>(m == 0 ? gate_tile : up_tile, staged, 1, warp, i, map, mine);
    if (lane % 4 == 0) {
      partial[m][warp][lane / 4] = mine[0];
      partial[m][warp][lane / 4 + 8] = mine[2];
    }
  }
  __syncthreads();
  if (threadIdx.x >= tile_rows) return;
  float gate_total = 0, up_total = 0;
#pragma unroll
  for (int w = 0; w < Warps; ++w) {
    gate_total += partial[0][w][threadIdx.x];
    up_total += partial[1][w][threadIdx.x];
  }
  static_cast<T*>(p.activated)[blockIdx.y * n + first + threadIdx.x] =
      from_float<T>(silu_mul<T, false>(gate_total, up_total));
}

/// out = residual + sum over the chosen experts, by ascending id, of weight * (down activated); WarpsEach
/// warps an expert. Grid: Hidden / 16 blocks of 32 * TopK * WarpsEach. Dynamic shared memory: TopK * (a tile
/// + row_stride * 2).
template <class Weight, class T, int Hidden, int Experts, int TopK, int WarpsEach, bool Renormalise>
__global__ void __launch_bounds__(32 * TopK * WarpsEach, blocks_for(96, 32 * TopK * WarpsEach))
    moe_down_one(const MoeParams p) {
  constexpr int n = Hidden;
  static_assert(n % tile_rows == 0, "the hidden size must be a multiple of 16");
  using S = Share<Weight, WarpsEach, 1>;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float result[TopK][WarpsEach][tile_rows], weight[TopK], map[TopK][16];
  __shared__ i32 id[TopK], slot[TopK];  // by ascending id
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32), first = int(blockIdx.x) * tile_rows;
  const int team = warp / WarpsEach, part = warp % WarpsEach,
            member = part * 32 + lane;  // a team of warps takes an expert
  u8* tile = dynamic + team * tile_bytes<Weight, T>;
  T* staged = reinterpret_cast<T*>(dynamic + TopK * tile_bytes<Weight, T>) + team * row_stride<Weight, T>;

  if (warp == 0) {
    const auto choice = choose<T, Experts, TopK>(static_cast<const T*>(p.logits));
    const float mine = weight_of<T, Experts, TopK, Renormalise, false>(choice);
    int before = 0;
#pragma unroll
    for (int s = 0; s < TopK; ++s) before += __shfl_sync(0xffffffffu, choice.id, s) < choice.id;
    if (lane < TopK) {
      id[before] = choice.id;
      slot[before] = lane;
      weight[before] = mine;
    }
  }
  __syncthreads();
  const u8* down = static_cast<const u8*>(p.experts[id[team]].down);
  if (down != nullptr) {  // else another rank's: it adds zero
    TileRow<Weight, T>::template request_side<tile_rows, 32 * WarpsEach>(tile, 0, down, n, first, member);
    request_share<Weight, T, S>(tile, down, first, part);
    load_map<Weight>(map[team], down, n, member);
  }
  allow_next();
  wait_for_previous();

  const int column = first + int(threadIdx.x);
  float residual = 0;
  if (threadIdx.x < tile_rows && p.residual != nullptr) residual = to_float(static_cast<const T*>(p.residual)[column]);
  if (down != nullptr)
    stage<Weight, T, 32 * WarpsEach>(staged, static_cast<const T*>(p.activated) + slot[team] * Weight::K, down, n,
                                     member);
  wait_side<S>();
  team_sync<WarpsEach>();
  float sums[4] = {};
#pragma unroll 1
  for (int i = 0; i < (down == nullptr ? 0 : S::each); ++i)
    multiply_rows<Weight, T, S>(tile, staged, 1, part, i, map[team], sums);
  if (lane % 4 == 0) {
    result[team][part][lane / 4] = sums[0];
    result[team][part][lane / 4 + 8] = sums[2];
  }
  __syncthreads();
  if (threadIdx.x >= tile_rows) return;
  float total = 0;
#pragma unroll
  for (int k = 0; k < TopK; ++k) {
    float y = 0;
#pragma unroll
    for (int w = 0; w < WarpsEach; ++w) y += result[k][w][threadIdx.x];
    total += y * weight[k];
  }
  static_cast<T*>(p.out)[column] = from_float<T>(total + residual);
}

}  // namespace fpf::kernel
