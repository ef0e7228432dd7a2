// The split attention of attention.cuh for float32 activations, without tensor cores: one position a warp at
// a time.
#pragma once

#include <fpf/kernel/attention/attention.cuh>

namespace fpf::kernel {

/// Attention of each part; rope_append comes before. Grid: (Splits, KvHeads, rows) blocks of 32 * Warps.
/// Lane l holds the dimensions l + 32 i.
template <int Heads, int KvHeads, int HeadDim, int Splits, int Warps>
__global__ void __launch_bounds__(32 * Warps) attend_float(const AttentionParams p) {
  constexpr int group = Heads / KvHeads, each = HeadDim / 32;
  static_assert(group <= most_group, "at most 8 query heads may share a kv head");
  constexpr u32 all = 0xffffffffu;
  __shared__ float part_out[Warps][group][HeadDim], part_stats[Warps][most_group][2];
  const int split = int(blockIdx.x), kv_head = int(blockIdx.y), row = int(blockIdx.z);
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32);
  allow_next();
  wait_for_previous();
  const int position = p.position[row];
  const i64 base = row * p.cache.batch_stride + kv_head * p.cache.head_stride;
  const float* keys = static_cast<const float*>(p.cache.keys) + base;
  const float* values = static_cast<const float*>(p.cache.values) + base;
  const float* q = static_cast<const float*>(p.q) + (i64(row) * Heads + kv_head * group) * HeadDim;

  float query[most_group][each], out[most_group][each] = {}, maximum = __uint_as_float(0xff800000u),
                                 sum = 0;  // of head lane / 4
#pragma unroll
  for (int h = 0; h < most_group; ++h)
#pragma unroll
    for (int i = 0; i < each; ++i) query[h][i] = h < group ? q[h * HeadDim + i * 32 + lane] : 0;

  const TileRange range = tiles_of<Splits>(split, position);
  const int end = min(range.end * kv_tile, position + 1);
  for (int at = range.begin * kv_tile + warp; at < end; at += Warps) {
    float score[most_group] = {};
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const float key = keys[at * p.cache.position_stride + i * 32 + lane];
#pragma unroll
      for (int h = 0; h < most_group; ++h) score[h] = fmaf(query[h][i], key, score[h]);
    }
    warp_sums(score);
    const float mine = score[0] * p.scale, largest = fmaxf(maximum, mine);
    const float rescale = maximum == __uint_as_float(0xff800000u) ? 0.0f : expf(maximum - largest);
    const float weight = expf(mine - largest);
    maximum = largest;
    sum = fmaf(sum, rescale, weight);
#pragma unroll
    for (int h = 0; h < most_group; ++h) {
      const float factor = __shfl_sync(all, rescale, h * 4), share = __shfl_sync(all, weight, h * 4);
#pragma unroll
      for (int i = 0; i < each; ++i)
        out[h][i] = fmaf(share, values[at * p.cache.position_stride + i * 32 + lane], out[h][i] * factor);
    }
  }
#pragma unroll
  for (int h = 0; h < group; ++h)
#pragma unroll
    for (int i = 0; i < each; ++i) part_out[warp][h][i * 32 + lane] = out[h][i];
  if (lane % 4 == 0) {
    part_stats[warp][lane / 4][0] = maximum * 1.44269504088896340736f;  // combine() counts in powers of 2
    part_stats[warp][lane / 4][1] = sum;
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < group * HeadDim; i += 32 * Warps) {
    const int h = i / HeadDim, d = i % HeadDim;
    float largest = part_stats[0][h][0], total = 0, weight = 0;
    for (int w = 1; w < Warps; ++w) largest = fmaxf(largest, part_stats[w][h][0]);
    for (int w = 0; w < Warps; ++w) {
      const float factor = exp2_below(part_stats[w][h][0], largest);
      total = fmaf(part_out[w][h][d], factor, total);
      weight = fmaf(part_stats[w][h][1], factor, weight);
    }
    const i64 at = (i64(row) * Heads + kv_head * group + h) * Splits + split;
    p.partial[at * HeadDim + d] = total;
    if (d == 0) {
      p.partial_stats[at * 2] = largest;
      p.partial_stats[at * 2 + 1] = weight;
    }
  }
}

}  // namespace fpf::kernel
