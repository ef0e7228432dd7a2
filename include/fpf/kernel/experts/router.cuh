// Which experts a token goes to: softmax over all of them in float32, the TopK most probable, their weights.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// One warp's choice for one row: the i-th chosen expert stands in lane i.
template <int Experts>
struct Choice {
  static constexpr int each = (Experts + 31) / 32;
  int id;
  float logit;             // of the lane's choice
  float all_logits[each];  // of experts i * 32 + lane, -infinity past the last
  bool taken[each];
};

/// A 16-bit logit and its expert in one number that orders as they do: larger logits first, equal ones by the
/// lower id, NaN before every number. Softmax keeps the order.
template <class T>
__device__ __forceinline__ u32 order_key(T logit, u32 expert) {
  const float value = to_float(logit);
  const u32 bits = value == 0.0f ? 0u : logit.bits;  // -0 equals 0
  const u32 ordered = value != value ? 0xffffu : (bits & 0x8000u) != 0 ? ~bits & 0xffffu : bits | 0x8000u;
  return ordered << 16 | (0xffffu - expert);
}

/// The logit in an order_key.
template <class T>
__device__ __forceinline__ float logit_of(u32 key) {
  const u32 ordered = key >> 16;
  return to_float(T{u16((ordered & 0x8000u) != 0 ? ordered & 0x7fffu : ~ordered)});
}

/// Chooses. Equal logits go by the lower id; a NaN counts as larger than every number.
template <class T, int Experts, int TopK>
__device__ __forceinline__ Choice<Experts> choose(const T* logits) {
  static_assert(TopK <= most_choices && TopK <= Experts && Experts < 0xffff, "a warp chooses at most 32 experts");
  constexpr u32 all = 0xffffffffu;
  constexpr int each = Choice<Experts>::each;
  const int lane = int(threadIdx.x % 32);
  Choice<Experts> choice;
  choice.id = 0;
  choice.logit = 0;
  u32 key[each];  // 0: taken, or no expert
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int expert = i * 32 + lane;
    choice.all_logits[i] = __uint_as_float(0xff800000u);
    choice.taken[i] = false;
    key[i] = 0;
    if (Experts % 32 != 0 && expert >= Experts) continue;
    T value;  // the logits may have been written while this kernel was starting
    if constexpr (sizeof(T) == 4)
      asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(logits + expert));
    else
      asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(value.bits) : "l"(logits + expert));
    choice.all_logits[i] = to_float(value);
    if constexpr (sizeof(T) == 4) {
      const u32 bits = value == 0.0f ? 0u : __float_as_uint(value);
      key[i] = value != value ? ~0u : (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    } else {
      key[i] = order_key(value, u32(expert));
    }
  }
#pragma unroll
  for (int k = 0; k < TopK; ++k) {
    u32 best = 0;
#pragma unroll
    for (int i = 0; i < each; ++i) best = max(best, key[i]);
    best = __reduce_max_sync(all, best);
    u32 id = ~0u;
    float logit;
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = each - 1; i >= 0; --i)
        if (key[i] == best) id = i * 32 + lane;
      id = __reduce_min_sync(all, id);
      logit = __uint_as_float((best & 0x80000000u) != 0 ? best & 0x7fffffffu : ~best);
    } else {
      id = 0xffffu - (best & 0xffffu);
      logit = logit_of<T>(best);
    }
    if (lane == k) {
      choice.id = int(id);
      choice.logit = logit;
    }
#pragma unroll
    for (int i = 0; i < each; ++i)
      if (id == u32(i * 32 + lane)) {
        key[i] = 0;
        choice.taken[i] = true;
      }
  }
  return choice;
}

/// The weight of the lane's choice: softmax over all experts, over the chosen ones when Renormalise; rounded
/// to T when Round, as a framework that stores it would.
template <class T, int Experts, int TopK, bool Renormalise, bool Round>
__device__ __forceinline__ float weight_of(const Choice<Experts>& choice) {
  const int lane = int(threadIdx.x % 32);
  const float largest = __shfl_sync(0xffffffffu, choice.logit, 0);
  float weight = lane < TopK ? expf(choice.logit - largest) : 0.0f;
  if constexpr (Renormalise && !Round) return __fdividef(weight, warp_sum(weight));  // the sum over all experts cancels
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Choice<Experts>::each; ++i) sum += expf(choice.all_logits[i] - largest);
  weight /= warp_sum(sum);
  if constexpr (Renormalise) weight /= warp_sum(weight);
  return Round ? rounded<T>(weight) : weight;
}

/// In every lane: least logit of the chosen less the greatest of the rejected; 0 where none was.
template <int Experts, int TopK>
__device__ __forceinline__ float margin_of(const Choice<Experts>& choice) {
  if constexpr (TopK == Experts) return 0;
  float greatest = __uint_as_float(0xff800000u);
#pragma unroll
  for (int i = 0; i < Choice<Experts>::each; ++i)
    if (!choice.taken[i]) greatest = fmaxf(greatest, choice.all_logits[i]);
  return __shfl_sync(0xffffffffu, choice.logit, TopK - 1) - warp_max(greatest);
}

/// Grid: one block of 32 threads per row.
template <class T, int Experts, int TopK, bool Renormalise, bool Round>
__global__ void __launch_bounds__(32) route(const RouteParams p) {
  const int row = int(blockIdx.x), lane = int(threadIdx.x);
  allow_next();
  wait_for_previous();
  const auto choice = choose<T, Experts, TopK>(static_cast<const T*>(p.logits) + i64(row) * Experts);
  const float weight = weight_of<T, Experts, TopK, Renormalise, Round>(choice),
              margin = margin_of<Experts, TopK>(choice);
  if (lane < TopK) {
    p.expert_ids[row * TopK + lane] = choice.id;
    p.weights[row * TopK + lane] = weight;
  }
  if (lane == 0) p.margin[row] = margin;
}

}  // namespace fpf::kernel
