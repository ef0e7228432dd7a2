// Experts in the portable order: the router's choice, the chosen experts of a few rows, and what many rows need around
// the products.
#pragma once

#include <fpf/kernel/ends/head.cuh>
#include <fpf/kernel/portable/gemv.cuh>

namespace fpf::kernel {

/// The TopK largest of a row's logits, ties by the lower id; weights as PORTABLE.md says. Grid: one warp a row.
/// RouteParams; logits float32.
template <int Experts, int TopK, bool Renormalise>
__global__ void __launch_bounds__(threads_of::warp) portable_route(const RouteParams p) {
  constexpr u32 all_lanes = 0xffffffffu;
  constexpr int each = (Experts + 31) / 32, kept = TopK < Experts ? TopK + 1 : TopK;
  __shared__ float all[Experts], chosen[kept];
  __shared__ int ids[kept];
  const int row = int(blockIdx.x), lane = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  u32 keys[each];  // the values in order; 0: chosen before, or no expert
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int e = i * 32 + lane;
    const float logit = e < Experts ? static_cast<const float*>(p.logits)[i64(row) * Experts + e] : 0.0f;
    if (e < Experts) all[e] = logit;
    keys[i] = e < Experts ? u32(order_key(logit, 0) >> 32) : 0;
  }
  __syncwarp();
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    u32 largest = 0, id = ~0u;
#pragma unroll
    for (int i = 0; i < each; ++i) largest = max(largest, keys[i]);
    largest = __reduce_max_sync(all_lanes, largest);
#pragma unroll
    for (int i = each - 1; i >= 0; --i)
      if (keys[i] == largest) id = u32(i * 32 + lane);
    id = __reduce_min_sync(all_lanes, id);
#pragma unroll
    for (int i = 0; i < each; ++i)
      if (u32(i * 32 + lane) == id) keys[i] = 0;
    if (lane == 0) {
      ids[k] = int(id);
      chosen[k] = all[id];
    }
  }
  __syncwarp();
  const float largest = chosen[0], least = chosen[TopK - 1], rejected = chosen[kept - 1];
  __syncwarp();
  for (int k = lane; k < TopK; k += 32) chosen[k] = portable::exp(portable::sub(chosen[k], largest));
  if constexpr (!Renormalise)
    for (int e = lane; e < Experts; e += 32) all[e] = portable::exp(portable::sub(all[e], largest));
  __syncwarp();
  float sum = 0;
  if constexpr (Renormalise) {
#pragma unroll
    for (int k = 0; k < TopK; ++k) sum = add(sum, chosen[k]);
  } else {
    sum = portable::ordered_sum<false>(all, Experts);
  }
  for (int k = lane; k < TopK; k += 32) {
    p.expert_ids[row * TopK + k] = ids[k];
    p.weights[row * TopK + k] = portable::div(chosen[k], sum);
  }
  if (lane == 0) p.margin[row] = TopK < Experts ? portable::sub(least, rejected) : 0.0f;
}

/// silu(gate x) * (up x) of each row's chosen experts, of the only one without ids. Grid: (ceil(n / (Groups *
/// PerThread)), rows * k) blocks of Lanes * Groups threads; n: intermediate features. It waits before it allows the
/// next one, so that `down` can read the choice early.
template <class Weight, int Intermediate, int TopK, int Lanes, int Groups, int PerThread>
__global__ void __launch_bounds__(Lanes* Groups) portable_gate_up(const PortableMoe p) {
  constexpr int outputs = Groups * PerThread, threads = Lanes * Groups, blocks = blocks_in<Weight>;
  extern __shared__ __align__(16) u8 dynamic[];
  using Stage = PortableStage<Weight, 2 * outputs>;
  static_assert(sizeof(Stage) == portable_stage_bytes(Weight::K, 2 * outputs), "the plan asks for the stage's size");
  auto& s = *reinterpret_cast<Stage*>(dynamic);
  __shared__ float up_map[16];
  const int b = int(threadIdx.x % Lanes), group = int(threadIdx.x / Lanes), own = min(b, blocks - 1);
  const int first = int(blockIdx.x) * outputs, slot = int(blockIdx.y);
  wait_for_previous();
  allow_next();
  const Expert& expert = p.experts[p.ids == nullptr ? 0 : p.ids[slot]];
  const u8* const matrices[2] = {static_cast<const u8*>(expert.gate), static_cast<const u8*>(expert.up)};
  Block<Weight> held[2][PerThread];
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int i = 0; i < PerThread; ++i)
      held[m][i].load(matrices[m], Intermediate, min(first + group * PerThread + i, Intermediate - 1), own);
  load_map<Weight>(s.map, matrices[0], Intermediate);
  load_map<Weight>(up_map, matrices[1], Intermediate);
  RowPart<Weight::K, threads> row;
  row.load(p.x + i64(slot / TopK) * Weight::K);
  float x[32];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    if (m == 0 || Weight::permuted) {
      __syncthreads();
      stage_row<Weight>(s.x, row, matrices[m], Intermediate);
      __syncthreads();
      load_block(s.x, own, x);
    }
#pragma unroll
    for (int i = 0; i < PerThread; ++i) {
      float w[32];
      held[m][i].values(own, m == 0 ? s.map : up_map, w);
      const float sum = chain(x, w, columns_in<Weight>(own));
      if (b < blocks) s.sums[m * outputs + group * PerThread + i][b] = sum;
    }
  }
  __syncthreads();
  constexpr int finishing = (outputs * 8 + 31) / 32 * 32;
  for (int t = int(threadIdx.x); t < finishing; t += threads) {
    const int output = min(t / 8, outputs - 1), column = first + output;
    const float gate = sum_of_blocks<blocks>(s.sums[output]), up = sum_of_blocks<blocks>(s.sums[outputs + output]);
    if (t % 8 == 0 && t / 8 < outputs && column < Intermediate)
      p.activated[i64(slot) * Intermediate + column] = mul(portable::silu(gate), up);
  }
}

/// Dynamic shared memory of portable_down: a row of every choice, sums.
template <class Weight, int TopK, int PerThread>
struct PortableDownStage {
  float x[TopK * blocks_in<Weight> * block_stride];
  float sums[PerThread][TopK][blocks_in<Weight> + 1];
};

/// The chosen experts' outputs, weighted, in the order of the experts, onto the row. Grid: (ceil(Hidden / PerThread),
/// rows) blocks of Threads >= TopK * blocks of K: a thread has one block of one expert. It reads the choice before it
/// waits.
template <class Weight, class T, int Hidden, int TopK, int Threads, int PerThread>
__global__ void __launch_bounds__(Threads) portable_down(const PortableMoe p) {
  constexpr int blocks = blocks_in<Weight>;
  extern __shared__ __align__(16) u8 dynamic[];
  using Stage = PortableDownStage<Weight, TopK, PerThread>;
  static_assert(sizeof(Stage) == portable_down_bytes(Weight::K, TopK, PerThread), "the plan asks for the stage's size");
  auto& s = *reinterpret_cast<Stage*>(dynamic);
  __shared__ float maps[TopK][16], outputs[PerThread][TopK], weights[TopK];
  __shared__ int order[TopK];
  const int t = int(threadIdx.x), row = int(blockIdx.y), first = int(blockIdx.x) * PerThread;
  const bool works = t < TopK * blocks;
  const int choice = works ? t / blocks : 0, b = works ? t % blocks : 0;
  const auto id = [&](int c) { return p.ids == nullptr ? 0 : load_settled(p.ids + row * TopK + c); };
  const auto matrix = [&](int c) { return static_cast<const u8*>(p.experts[id(c)].down); };
  Block<Weight> held[PerThread];
  const u8* const own = matrix(choice);
#pragma unroll
  for (int i = 0; i < PerThread; ++i) held[i].load(own, Hidden, min(first + i, Hidden - 1), b);
  if (t < TopK) {  // where this choice comes among the experts
    int place = 0;
#pragma unroll
    for (int c = 0; c < TopK; ++c) place += id(c) < id(t);
    order[place] = t;
    weights[t] = p.ids == nullptr ? 1.0f : load_settled(p.weights + row * TopK + t);
  }
  if constexpr (Weight::mapped)
    for (int i = t; i < TopK * 16; i += Threads)
      maps[i / 16][i % 16] = reinterpret_cast<const float*>(matrix(i / 16) + Weight::map_at(Hidden))[i % 16];
  allow_next();
  wait_for_previous();
  RowPart<TopK * Weight::K, Threads> rows;  // one after another
  rows.load(p.activated + i64(row) * TopK * Weight::K);
  rows.for_each([&](int k, const float4& four) {
    const int c = k / Weight::K;
    stage_four<Weight>(s.x + c * blocks * block_stride, k % Weight::K, four, Weight::permuted ? matrix(c) : nullptr,
                       Hidden);
  });
  __syncthreads();
  float x[32];
  load_block(s.x, choice * blocks + b, x);
#pragma unroll
  for (int i = 0; i < PerThread; ++i) {
    float w[32];
    held[i].values(b, maps[choice], w);
    const float sum = chain(x, w, columns_in<Weight>(b));
    if (works) s.sums[i][choice][b] = sum;
  }
  __syncthreads();
  constexpr int count = PerThread * TopK, finishing = (count * 8 + 31) / 32 * 32;
  for (int u = t; u < finishing; u += Threads) {
    const int one = min(u / 8, count - 1);
    const float total = sum_of_blocks<blocks>(s.sums[one / TopK][one % TopK]);
    if (u % 8 == 0 && u / 8 < count) outputs[one / TopK][one % TopK] = total;
  }
  __syncthreads();
  if (t >= PerThread || first + t >= Hidden) return;
  float total = 0;
#pragma unroll
  for (int c = 0; c < TopK; ++c) total = portable::fma(weights[order[c]], outputs[t][order[c]], total);
  if (p.ids == nullptr) total = outputs[t][0];
  const i64 at = i64(row) * Hidden + first + t;
  total = add(p.out[at], total);
  p.out[at] = total;
  if (p.tap != nullptr) static_cast<T*>(p.tap)[at] = from_float<T>(total);
}

/// Slots by expert; the order within one is whatever it is: rows do not see each other. One block.
template <int Experts>
__global__ void __launch_bounds__(threads_of::portable_group) portable_group(const PortableGroups p) {
  constexpr int threads = threads_of::portable_group;
  __shared__ int counts[Experts], next[Experts];
  wait_for_previous();
  for (int e = int(threadIdx.x); e < Experts; e += threads) counts[e] = 0;
  __syncthreads();
  const auto expert = [&](int slot) { return p.ids == nullptr ? 0 : p.ids[slot]; };
  for (int s = int(threadIdx.x); s < p.slots; s += threads) atomicAdd(&counts[expert(s)], 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    int at = 0;
    for (int e = 0; e < Experts; ++e) {
      next[e] = at;
      at += counts[e];
      p.ends[e] = at;
    }
  }
  __syncthreads();
  for (int s = int(threadIdx.x); s < p.slots; s += threads) p.order[atomicAdd(&next[expert(s)], 1)] = s;
}

/// gate <- silu(gate) * up. Grid: a value a thread. ElementwiseParams: a gate, b up, float32.
__global__ void __launch_bounds__(threads_of::portable_values) portable_silu_mul(const ElementwiseParams p) {
  wait_for_previous();
  const i64 i = i64(blockIdx.x) * threads_of::portable_values + threadIdx.x;
  if (i < p.count)
    static_cast<float*>(p.out)[i] =
        mul(portable::silu(static_cast<const float*>(p.a)[i]), static_cast<const float*>(p.b)[i]);
}

/// What portable_down ends with, from every choice's output. Grid: a block a row.
template <class T, int Hidden, int TopK>
__global__ void __launch_bounds__(threads_of::portable_values) portable_experts_sum(const PortableMoe p) {
  __shared__ int order[TopK];
  __shared__ float weights[TopK];
  const int row = int(blockIdx.x), t = int(threadIdx.x);
  wait_for_previous();
  const auto id = [&](int c) { return p.ids == nullptr ? 0 : p.ids[i64(row) * TopK + c]; };
  if (t < TopK) {
    int place = 0;
    for (int c = 0; c < TopK; ++c) place += id(c) < id(t);
    order[place] = t;
    weights[place] = p.ids == nullptr ? 1.0f : p.weights[i64(row) * TopK + t];
  }
  __syncthreads();
  for (int k = t; k < Hidden; k += threads_of::portable_values) {
    float total = 0;
#pragma unroll
    for (int c = 0; c < TopK; ++c)
      total = portable::fma(weights[c], p.outputs[(i64(row) * TopK + order[c]) * Hidden + k], total);
    if (p.ids == nullptr) total = p.outputs[i64(row) * Hidden + k];
    const i64 at = i64(row) * Hidden + k;
    total = add(p.out[at], total);
    p.out[at] = total;
    if (p.tap != nullptr) static_cast<T*>(p.tap)[at] = from_float<T>(total);
  }
}

}  // namespace fpf::kernel
