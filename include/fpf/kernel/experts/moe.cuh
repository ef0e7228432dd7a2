// The chosen experts' MLPs without tensor cores: float32 activations, and 16-bit ones where each row is to be
// computed in gemv.cuh's arithmetic. moe_rows.cuh has the fast ones. A row's result does not depend on the
// others.
#pragma once

#include <fpf/kernel/experts/moe_rows.cuh>
#include <fpf/kernel/product/gemv.cuh>

namespace fpf::kernel {

/// activated[r, slot, :] = silu(gate x_r) * (up x_r). Grid: (ceil(Intermediate / (Groups * PerThread)), rows
/// * TopK) blocks of Lanes * Groups. Intermediate >= PerThread.
template <class Weight, class T, int Intermediate, int TopK, int Lanes, int Groups, int PerThread, bool Round>
__global__ void __launch_bounds__(Lanes* Groups) moe_gate_up(const MoeParams p) {
  constexpr int threads = Lanes * Groups, rows_per_block = Groups * PerThread, n = Intermediate;
  __shared__ __align__(16) T staged[staged_size<Weight, T>];
  __shared__ float partial[2][rows_per_block * (Lanes / 32)], map[2][16];
  const int lane = int(threadIdx.x % Lanes), group = int(threadIdx.x / Lanes), pair = int(blockIdx.y);
  const int block_first = int(blockIdx.x) * rows_per_block, first = block_first + group * PerThread;
  allow_next();
  wait_for_previous();
  const Expert expert = p.experts[p.expert_ids[pair]];
  if (expert.gate == nullptr) return;  // another rank's
  const u8 *gate = static_cast<const u8*>(expert.gate), *up = static_cast<const u8*>(expert.up);
  WeightRows<Weight, Lanes, PerThread> gate_rows, up_rows;
  gate_rows.load(gate, n, first, lane);
  up_rows.load(up, n, first, lane);
  load_map<Weight>(map[0], gate, n);
  load_map<Weight>(map[1], up, n);
  const T* x = static_cast<const T*>(p.x) + i64(pair / TopK) * Weight::K;
  stage<Weight, T, threads>(staged, x, gate, n, int(threadIdx.x));
  __syncthreads();
  float sums[PerThread];
  gate_rows.multiply(staged, lane, map[0], sums);
  reduce_rows<Lanes>(sums, partial[0]);
  if constexpr (Weight::permuted) {
    __syncthreads();
    stage<Weight, T, threads>(staged, x, up, n, int(threadIdx.x));
    __syncthreads();
  }
  up_rows.multiply(staged, lane, map[1], sums);
  reduce_rows<Lanes>(sums, partial[1]);
  __syncthreads();
  if (threadIdx.x >= rows_per_block) return;
  const int row = int(threadIdx.x), wanted = block_first + row / PerThread * PerThread;
  const int column = gate_rows.begin(wanted, n) + row % PerThread;
  if (column >= wanted)
    static_cast<T*>(p.activated)[i64(pair) * n + column] =
        from_float<T>(silu_mul<T, Round>(row_total<Lanes>(partial[0], row), row_total<Lanes>(partial[1], row)));
}

/// out[r, :] = residual[r, :] + sum over r's experts, by ascending id, of weight * (down activated).
/// Grid: (ceil(Hidden / PerThread), rows) blocks of TopK * Lanes. Hidden >= PerThread.
template <class Weight, class T, int Hidden, int TopK, int Lanes, int PerThread, bool Round>
__global__ void __launch_bounds__(TopK* Lanes) moe_down(const MoeParams p) {
  constexpr int n = Hidden;
  __shared__ __align__(16) T staged[TopK][staged_size<Weight, T>];
  __shared__ float partial[TopK][PerThread * (Lanes / 32)], map[TopK][16];
  const int lane = int(threadIdx.x % Lanes), team = int(threadIdx.x / Lanes), r = int(blockIdx.y);
  const int wanted = int(blockIdx.x) * PerThread;
  allow_next();
  wait_for_previous();
  const i32* ids = p.expert_ids + r * TopK;
  const u8* down = static_cast<const u8*>(p.experts[ids[team]].down);
  WeightRows<Weight, Lanes, PerThread> rows;
  if (down != nullptr) {  // else another rank's: it adds zero
    rows.load(down, n, wanted, lane);
    load_map<Weight>(map[team], down, n, lane);
    stage<Weight, T, Lanes>(staged[team], static_cast<const T*>(p.activated) + (i64(r) * TopK + team) * Weight::K, down,
                            n, lane);
  }
  __syncthreads();
  float sums[PerThread] = {};
  if (down != nullptr) rows.multiply(staged[team], lane, map[team], sums);
  // reduce_rows counts rows from the thread's group: the team.
  reduce_rows<Lanes>(sums, partial[0]);
  __syncthreads();
  const int column = rows.begin(wanted, n) + int(threadIdx.x);
  if (threadIdx.x >= PerThread || column < wanted) return;
  float total = 0;
  for (int before = 0; before < TopK; ++before) {
    int slot = 0;  // the one with `before` smaller ids in its row
    for (int s = 0; s < TopK; ++s) {
      int smaller = 0;
      for (int other = 0; other < TopK; ++other) smaller += ids[other] < ids[s];
      if (smaller == before) slot = s;
    }
    const float y = row_total<Lanes>(partial[slot], int(threadIdx.x));
    total = after_op<T, Round>(total + after_op<T, Round>(after_op<T, Round>(y) * p.weights[r * TopK + slot]));
  }
  const i64 at = i64(r) * n + column;
  if (p.residual != nullptr) total += to_float(static_cast<const T*>(p.residual)[at]);
  static_cast<T*>(p.out)[at] = from_float<T>(total);
}

}  // namespace fpf::kernel
