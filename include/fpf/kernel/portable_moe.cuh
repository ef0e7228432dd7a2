// Experts in the portable order: the router's choice, the chosen experts of a few rows, and what many rows need around the
// products.
#pragma once

#include "head.cuh"
#include "portable_gemv.cuh"

namespace fpf::kernel {

/// The K largest of a row's logits, ties by the lower id; weights as PORTABLE.md says. Grid: one warp a row. RouteParams;
/// logits float32.
template <int Experts, int K, bool Renormalise>
__global__ void __launch_bounds__(32) portable_route(const RouteParams p) {
  constexpr int each = (Experts + 31) / 32, kept = K < Experts ? K + 1 : K;
  __shared__ float all[Experts], chosen[kept];
  __shared__ int ids[kept];
  const int row = int(blockIdx.x), lane = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  u64 keys[each];
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int e = i * 32 + lane;
    const float logit = e < Experts ? static_cast<const float*>(p.logits)[i64(row) * Experts + e] : 0.0f;
    if (e < Experts) all[e] = logit;
    keys[i] = e < Experts ? order_key(logit, u32(e)) : 0;
  }
  __syncwarp();
  for (int k = 0; k < kept; ++k) {
    u64 largest = 0;
#pragma unroll
    for (int i = 0; i < each; ++i) largest = keys[i] > largest ? keys[i] : largest;
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      const u64 other = __shfl_xor_sync(0xffffffffu, largest, offset);
      largest = other > largest ? other : largest;
    }
#pragma unroll
    for (int i = 0; i < each; ++i)
      if (keys[i] == largest) keys[i] = 0;
    if (lane == 0) {
      ids[k] = int(~u32(largest));
      chosen[k] = all[int(~u32(largest))];
    }
  }
  __syncwarp();
  const float largest = chosen[0], least = chosen[K - 1], rejected = chosen[kept - 1];
  __syncwarp();
  for (int e = lane; e < Experts; e += 32) all[e] = portable::exp(portable::sub(all[e], largest));
  for (int k = lane; k < K; k += 32) chosen[k] = portable::exp(portable::sub(chosen[k], largest));
  __syncwarp();
  float sum = 0;
  if constexpr (Renormalise) {
    for (int k = 0; k < K; ++k) sum = add(sum, chosen[k]);
  } else {
    sum = portable::ordered_sum<false>(all, Experts);
  }
  for (int k = lane; k < K; k += 32) {
    p.expert_ids[row * K + k] = ids[k];
    p.weights[row * K + k] = portable::div(chosen[k], sum);
  }
  if (lane == 0) p.margin[row] = K < Experts ? portable::sub(least, rejected) : 0.0f;
}

/// silu(gate x) * (up x) of each row's chosen experts, of the only one without ids. Grid: (ceil(n / (Groups * PerThread)), rows * k) blocks of Lanes *
/// Groups threads; n: intermediate features.
template <class Weight, int N, int TopK, int Lanes, int Groups, int PerThread>
__global__ void __launch_bounds__(Lanes* Groups) portable_gate_up(const PortableMoe p) {
  constexpr int outputs = Groups * PerThread, threads = Lanes * Groups, blocks = blocks_in<Weight>;
  __shared__ __align__(16) PortableStage<Weight, 2 * outputs> s;
  const int b = int(threadIdx.x % Lanes), group = int(threadIdx.x / Lanes), first = int(blockIdx.x) * outputs;
  allow_next();
  wait_for_previous();
  const int slot = int(blockIdx.y);
  const Expert& expert = p.experts[p.ids == nullptr ? 0 : p.ids[slot]];
  const u8* const matrices[2] = {static_cast<const u8*>(expert.gate), static_cast<const u8*>(expert.up)};
  Block<Weight> held[2][PerThread];
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int i = 0; i < PerThread; ++i)
      if (b < blocks) held[m][i].load(matrices[m], N, min(first + group * PerThread + i, N - 1), b);
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    if (m == 0 || Weight::permuted || has_map<Weight>) {
      __syncthreads();
      load_code_map<Weight>(s.map, matrices[m], N);
      stage_row_portable<Weight>(s.x, p.x + i64(slot / TopK) * Weight::K, matrices[m], N, int(threadIdx.x), threads);
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < PerThread; ++i) {
      if (b >= blocks) continue;
      float w[32];
      held[m][i].values(b, s.map, w);
      s.sums[m * outputs + group * PerThread + i][b] = chain<Weight>(s.x, w, b);
    }
  }
  __syncthreads();
  constexpr int finishing = (outputs * 8 + 31) / 32 * 32;
  for (int t = int(threadIdx.x); t < finishing; t += threads) {
    const int output = min(t / 8, outputs - 1), column = first + output;
    const float gate = sum_of_blocks(s.sums[output], blocks, portable::segment_blocks(blocks));
    const float up = sum_of_blocks(s.sums[outputs + output], blocks, portable::segment_blocks(blocks));
    if (t % 8 == 0 && t / 8 < outputs && column < N)
      p.activated[i64(slot) * N + column] = mul(portable::silu(gate), up);
  }
}

/// The chosen experts' outputs, weighted, in the order of the experts, onto the row. Grid: (ceil(N / PerThread), rows)
/// blocks of Threads >= TopK * blocks of K: a thread has one block of one expert.
template <class Weight, class T, int N, int TopK, int Threads, int PerThread>
__global__ void __launch_bounds__(Threads) portable_down(const PortableMoe p) {
  constexpr int blocks = blocks_in<Weight>;
  __shared__ __align__(16) float x[TopK * blocks * block_stride];
  __shared__ float sums[PerThread][TopK][blocks + 1], map[TopK][16], outputs[PerThread][TopK], weights[TopK];
  __shared__ int order[TopK];
  const int t = int(threadIdx.x), choice = t / blocks, b = t % blocks, row = int(blockIdx.y);
  const int first = int(blockIdx.x) * PerThread;
  allow_next();
  wait_for_previous();
  const auto id = [&](int c) { return p.ids == nullptr ? 0 : p.ids[row * TopK + c]; };
  const bool works = choice < TopK;
  const u8* matrix = static_cast<const u8*>(p.experts[id(works ? choice : 0)].down);
  Block<Weight> held[PerThread];
#pragma unroll
  for (int i = 0; i < PerThread; ++i)
    if (works) held[i].load(matrix, N, min(first + i, N - 1), b);
  if (t < TopK) {  // where this choice comes among the experts
    int place = 0;
    for (int c = 0; c < TopK; ++c) place += id(c) < id(t);
    order[place] = t;
    weights[t] = p.ids == nullptr ? 1.0f : p.weights[row * TopK + t];
  }
  for (int c = 0; c < TopK; ++c) {
    const u8* own = static_cast<const u8*>(p.experts[id(c)].down);
    load_code_map<Weight>(map[c], own, N);
    stage_row_portable<Weight>(x + c * blocks * block_stride, p.activated + (i64(row) * TopK + c) * Weight::K, own, N,
                               t, Threads);
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < PerThread; ++i) {
    if (!works) continue;
    float w[32];
    held[i].values(b, map[choice], w);
    sums[i][choice][b] = chain<Weight>(x + choice * blocks * block_stride, w, b);
  }
  __syncthreads();
  constexpr int count = PerThread * TopK, finishing = (count * 8 + 31) / 32 * 32;
  for (int u = t; u < finishing; u += Threads) {
    const int one = min(u / 8, count - 1);
    const float total = sum_of_blocks(sums[one / TopK][one % TopK], blocks, portable::segment_blocks(blocks));
    if (u % 8 == 0 && u / 8 < count) outputs[one / TopK][one % TopK] = total;
  }
  __syncthreads();
  if (t >= PerThread || first + t >= N) return;
  float total = 0;
#pragma unroll
  for (int c = 0; c < TopK; ++c) total = portable::fma(weights[order[c]], outputs[t][order[c]], total);
  if (p.ids == nullptr) total = outputs[t][0];
  const i64 at = i64(row) * N + first + t;
  total = add(p.out[at], total);
  p.out[at] = total;
  if (p.tap != nullptr) static_cast<T*>(p.tap)[at] = from_float<T>(total);
}

/// Slots by expert; the order within one is whatever it is: rows do not see each other. One block of 1024.
template <int Experts>
__global__ void __launch_bounds__(1024) portable_group(const PortableGroups p) {
  __shared__ int counts[Experts], next[Experts];
  for (int e = int(threadIdx.x); e < Experts; e += 1024) counts[e] = 0;
  __syncthreads();
  for (int s = int(threadIdx.x); s < p.slots; s += 1024) atomicAdd(&counts[p.ids[s]], 1);
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
  for (int s = int(threadIdx.x); s < p.slots; s += 1024) p.order[atomicAdd(&next[p.ids[s]], 1)] = s;
}

/// gate <- silu(gate) * up. Grid: ceil(count / 256) blocks of 256. ElementwiseParams: a gate, b up, float32.
__global__ void __launch_bounds__(256) portable_silu_mul(const ElementwiseParams p) {
  wait_for_previous();
  const i64 i = i64(blockIdx.x) * 256 + threadIdx.x;
  if (i < p.count)
    static_cast<float*>(p.out)[i] =
        mul(portable::silu(static_cast<const float*>(p.a)[i]), static_cast<const float*>(p.b)[i]);
}

/// What portable_down ends with, from every choice's output. Grid: rows blocks of 256.
template <class T, int Hidden, int TopK>
__global__ void __launch_bounds__(256) portable_experts_sum(const PortableMoe p) {
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
  for (int k = t; k < Hidden; k += 256) {
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
