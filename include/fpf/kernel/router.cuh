// Which experts a token goes to: softmax over all of them in float32, the TopK most probable, their weights.
#pragma once

#include "common.cuh"
#include "params.hpp"

namespace fpf::kernel {

/// The i-th chosen expert stands in lane i.
struct Choice {
  int id;
  float weight;
  float margin;  // in every lane: least logit of the chosen less the greatest of the rejected
};

/// One warp chooses for one row. Equal probabilities go by the lower id; a NaN counts as larger than every
/// number. Weights are rounded to T when Round, as a framework that stores them would.
template <class T, int Experts, int TopK, bool Renormalise, bool Round>
__device__ __forceinline__ Choice choose(const T* logits) {
  static_assert(TopK <= 32 && TopK <= Experts, "a warp chooses at most 32 experts");
  constexpr u32 all = 0xffffffffu;
  constexpr int each = (Experts + 31) / 32;
  const int lane = int(threadIdx.x % 32);
  const float infinity = __uint_as_float(0x7f800000u);
  float logit[each], probability[each];
  float largest = -infinity;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int expert = i * 32 + lane;
    logit[i] = -infinity;
    if (Experts % 32 == 0 || expert < Experts) {
      T value;  // the logits may have been written while this kernel was starting
      if constexpr (sizeof(T) == 4)
        asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(logits + expert));
      else
        asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(value.bits) : "l"(logits + expert));
      logit[i] = to_float(value);
    }
    largest = fmaxf(largest, logit[i]);
  }
  largest = warp_max(largest);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    probability[i] = expf(logit[i] - largest);
    sum += probability[i];
  }
  sum = warp_sum(sum);
  u32 key[each];  // probabilities are not negative: their bits order as they do; 0 is taken
#pragma unroll
  for (int i = 0; i < each; ++i) {
    probability[i] = __fdividef(probability[i], sum);  // monotone: the order is that of the quotients
    key[i] = Experts % 32 == 0 || i * 32 + lane < Experts ? __float_as_uint(probability[i]) + 1 : 0;
  }

  Choice choice{0, 0, 0};
  float least = infinity, total = 0;
#pragma unroll
  for (int k = 0; k < TopK; ++k) {
    u32 best = 0;
#pragma unroll
    for (int i = 0; i < each; ++i) best = max(best, key[i]);
    best = __reduce_max_sync(all, best);
    u32 id = ~0u;
#pragma unroll
    for (int i = each - 1; i >= 0; --i)
      if (key[i] == best) id = i * 32 + lane;
    id = __reduce_min_sync(all, id);
    const float weight = __uint_as_float(best - 1);
    total += weight;
    if (lane == k) {
      choice.id = int(id);
      choice.weight = weight;
    }
#pragma unroll
    for (int i = 0; i < each; ++i)
      if (id == u32(i * 32 + lane)) {
        key[i] = 0;
        least = fminf(least, logit[i]);
      }
  }
  if constexpr (Renormalise) choice.weight = Round ? choice.weight / total : __fdividef(choice.weight, total);
  if constexpr (Round) choice.weight = rounded<T>(choice.weight);
  float greatest = -infinity;
#pragma unroll
  for (int i = 0; i < each; ++i)
    if (key[i] != 0) greatest = fmaxf(greatest, logit[i]);
  choice.margin = TopK < Experts ? -warp_max(-least) - warp_max(greatest) : 0;
  return choice;
}

/// Grid: one block of 32 threads per row.
template <class T, int Experts, int TopK, bool Renormalise, bool Round>
__global__ void __launch_bounds__(32) route(const RouteParams p) {
  const int row = int(blockIdx.x), lane = int(threadIdx.x);
  wait_for_previous();
  allow_next();
  const Choice choice =
      choose<T, Experts, TopK, Renormalise, Round>(static_cast<const T*>(p.logits) + i64(row) * Experts);
  if (lane < TopK) {
    p.expert_ids[row * TopK + lane] = choice.id;
    p.weights[row * TopK + lane] = choice.weight;
  }
  if (lane == 0) p.margin[row] = choice.margin;
}

}  // namespace fpf::kernel
