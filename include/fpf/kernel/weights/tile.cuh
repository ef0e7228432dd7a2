// Sixteen output rows of a packed matrix in shared memory, and how the matrix units read them. The copy is
// requested before a kernel waits for its predecessor and takes no registers, so that memory works through
// the whole chain of kernels; products begin when it is there.
//
// mma.m16n8k16 multiplies weights (16 x 16) by x (16 x 8). Which columns stand at which k is free as long as
// both sides agree. Of each 128 columns ("block"), thread t of four takes in step w (0..3) eight columns:
//   32 t + 8 w  where it reads 16 bytes of codes at once (one scale serves the block),
//   32 w + 8 t  where scales change within the block, and for dense weights.
#pragma once

#include <fpf/kernel/weights/packed.cuh>

namespace fpf::kernel {

/// c += a (16 x 16, row-major pairs) * b (16 x 8)
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  if constexpr (same<T, Bf16>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Bytes between the tile's rows of codes: half a bank cycle more than a multiple of one, so that two rows'
/// 64 bytes meet in different banks.
__host__ __device__ constexpr int tile_stride(int row_bytes) { return (row_bytes + 127) / 128 * 128 + 64; }

__device__ __forceinline__ u32 word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/// Two 4-bit codes at a time out of a word, as 1 + q/16: the codes take the top of the mantissa of T's 1, and
/// zeros and scales wait until a block is summed (its sum of x comes from a product with ones).
template <class T>
struct CodePairs {
  static constexpr bool is_bf16 = same<T, Bf16>;
  static constexpr u32 one = is_bf16 ? 0x3f803f80u : 0x3c003c00u, mask = is_bf16 ? 0x00780078u : 0x03c003c0u;
  static constexpr int first_turn = is_bf16 ? 0 : 29;  // brings nibbles 0 and 4 under the mask

  __device__ static __forceinline__ void unpack(u32 word, u32 (&pairs)[4]) {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const int turn = (first_turn + 4 * p) % 32;
      pairs[p] = masked_or(turn == 0 ? word : __funnelshift_r(word, word, turn), mask, one);
    }
  }
};

/// One row of a tile as a lane reads it. Per format:
///
///   bytes              the tile's size
///   request_side       by Threads threads, the copy of what stands beside the codes of Rows rows from
///   `first`
///                      on, to the tile's rows from `to` on
///   block(row, b, t)   begins block b of a row
///   pairs(w, ...)      the four pairs of columns of step w
///   factors            0: the pairs are the weights; else weights are scale[.] (pairs - shift[.]), with one
///                      factor a block (1) or one a step (4)
///   columns_by_thread  steps take columns 32 t + 8 w, not 32 w + 8 t
template <class Weight, class T>
struct TileRow;

template <class Scale, int Group, int Columns, bool Permuted, class T>
struct TileRow<Int4<Scale, Group, Columns, Permuted>, T> {
  using Weight = Int4<Scale, Group, Columns, Permuted>;
  static constexpr bool whole = Group % 128 == 0;
  static constexpr int factors = whole ? 1 : 4;
  static constexpr bool columns_by_thread = whole;
  static constexpr int stride = tile_stride(Columns / 2);
  static constexpr int scales_at = 16 * stride, zeros_at = scales_at + 16 * Weight::groups * int(sizeof(Scale));
  static constexpr int bytes = zeros_at + 16 * Weight::zero_words * 4;

  static constexpr int row_bytes = Columns / 2;

  template <int Rows, int Threads>
  __device__ static __forceinline__ void request_side(u8* tile, int to, const u8* matrix, i64 n, int first,
                                                      int thread) {
    constexpr int scale_row = Weight::groups * int(sizeof(Scale)), zero_row = Weight::zero_words * 4;
    copy_rows_async<Rows * scale_row, 1, Threads>(tile + scales_at + to * scale_row, 0,
                                                  matrix + Weight::scales_at(n) + i64(first) * scale_row, thread);
    copy_rows_async<Rows * zero_row, 1, Threads>(tile + zeros_at + to * zero_row, 0,
                                                 matrix + Weight::zeros_at(n) + i64(first) * zero_row, thread);
  }

  u32 codes[4];
  float scale[factors], shift[factors];

  __device__ __forceinline__ void block(const u8* tile, int row, u32 b, u32 t) {
    const u8* at = tile + row * stride + b * 64;
    if constexpr (whole) {
      const uint4 words = *reinterpret_cast<const uint4*>(at + t * 16);
      codes[0] = words.x;
      codes[1] = words.y;
      codes[2] = words.z;
      codes[3] = words.w;
    }
#pragma unroll
    for (int w = 0; w < factors; ++w) {
      if constexpr (!whole) {
        if (Columns % 128 != 0 && b * 128 + w * 32 >= Columns) break;
        codes[w] = *reinterpret_cast<const u32*>(at + w * 16 + t * 4);
      }
      const u32 g = (b * 128 + w * 32) / u32(Group);
      scale[w] = to_float(reinterpret_cast<const Scale*>(tile + scales_at)[row * Weight::groups + g]) * 16.0f;
      const u32 zeros = reinterpret_cast<const u32*>(tile + zeros_at)[row * Weight::zero_words + g / 8];
      // 1 + zero/16, through the mantissa of 1
      shift[w] = __uint_as_float(((zeros >> (g % 8 * 4)) & 15u) << 19 | 0x3f800000u);
    }
  }
  __device__ __forceinline__ void pairs(int w, const float*, u32 (&out)[4]) const {
    CodePairs<T>::unpack(codes[w], out);
  }
};

template <class T, int Columns>
struct TileRow<Nf4<T, Columns>, T> {
  using Weight = Nf4<T, Columns>;
  static constexpr int factors = 0;
  static constexpr bool columns_by_thread = true;
  static constexpr int stride = tile_stride(Columns / 2), each = Columns / Weight::block;
  static constexpr int absmax_at = 16 * stride, bytes = absmax_at + 16 * each * 4;

  static constexpr int row_bytes = Columns / 2;

  template <int Rows, int Threads>
  __device__ static __forceinline__ void request_side(u8* tile, int to, const u8* matrix, i64 n, int first,
                                                      int thread) {
    copy_rows_async<Rows * each * 4, 1, Threads>(tile + absmax_at + to * each * 4, 0,
                                                 matrix + Weight::absmax_at(n) + i64(first) * each * 4, thread);
  }

  uint4 codes;
  float absmax;

  __device__ __forceinline__ void block(const u8* tile, int row, u32 b, u32 t) {
    const u32 chunk = b * 4 + t;
    if (Columns % 128 != 0 && chunk >= Columns / 32) {
      codes = make_uint4(0, 0, 0, 0);
      absmax = 0;
      return;
    }
    codes = *reinterpret_cast<const uint4*>(tile + row * stride + chunk * 16);
    absmax = reinterpret_cast<const float*>(tile + absmax_at)[row * each + chunk / 2];
  }
  __device__ __forceinline__ void pairs(int w, const float* map, u32 (&out)[4]) const {
    const char* base = reinterpret_cast<const char*>(map);
    const u32 word = word_of(codes, w);
#pragma unroll
    for (int p = 0; p < 4; ++p)
      out[p] = pack<T>(*reinterpret_cast<const float*>(base + Weight::map_offset(word, 2 * p)) * absmax,
                       *reinterpret_cast<const float*>(base + Weight::map_offset(word, 2 * p + 1)) * absmax);
  }
};

template <class T, int Columns>
struct TileRow<Dense<T, Columns>, T> {
  static constexpr int factors = 0;
  static constexpr bool columns_by_thread = false;
  static constexpr int stride = tile_stride(Columns * 2), bytes = 16 * stride;

  static constexpr int row_bytes = Columns * 2;

  template <int Rows, int Threads>
  __device__ static __forceinline__ void request_side(u8*, int, const u8*, i64, int, int) {}

  uint4 values[4];

  __device__ __forceinline__ void block(const u8* tile, int row, u32 b, u32 t) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const u32 column = b * 128 + w * 32 + t * 8;
      values[w] = Columns % 128 == 0 || column < Columns
                      ? *reinterpret_cast<const uint4*>(tile + row * stride + column * 2)
                      : make_uint4(0, 0, 0, 0);
    }
  }
  __device__ __forceinline__ void pairs(int w, const float*, u32 (&out)[4]) const {
    out[0] = values[w].x;
    out[1] = values[w].y;
    out[2] = values[w].z;
    out[3] = values[w].w;
  }
};

/// A warp's share of a tile's blocks: successive ones. Their copies come in Batches, and products follow
/// them.
template <class Weight, int Warps, int Batches>
struct Share {
  static constexpr int blocks = (Weight::K + 127) / 128, each = (blocks + Warps - 1) / Warps;
  static constexpr int batches = Batches < each ? Batches : each;
  static constexpr int per_batch = (each + batches - 1) / batches;  // blocks
  static constexpr bool full = Weight::K % 128 == 0 && blocks % Warps == 0 && each % per_batch == 0;
};

/// Copies one batch of a warp's share of Rows rows from `first` on to the tile's rows from `to` on, by the
/// warp: rows one after the other, so that a request covers as many successive bytes as the batch has of a
/// row.
template <class Weight, class T, class S, int Rows>
__device__ __forceinline__ void request_batch(u8* tile, int to, const u8* matrix, int first, int share, int batch) {
  using Row = TileRow<Weight, T>;
  constexpr int block_bytes = Row::row_bytes / (Weight::K / 32) * 4, per_row = S::per_batch * block_bytes / 16;
  const u32 begin = u32(share * S::each + batch * S::per_batch) * block_bytes, lane = threadIdx.x % 32;
  const u8* from = matrix + i64(first) * Row::row_bytes + begin;
  u8* target = tile + to * Row::stride + begin;
  constexpr int count = (Rows * per_row + 31) / 32, unrolled = count > 16 ? 4 : count;
#pragma unroll(unrolled)
  for (int i = 0; i < count; ++i) {
    const u32 v = u32(i) * 32 + lane, row = v / per_row, at = v % per_row * 16;
    const bool inside =
        (Rows * per_row % 32 == 0 || v < Rows * per_row) &&
        (S::full || (begin + at < u32(Row::row_bytes) && at < (S::each - batch * S::per_batch) * block_bytes));
    if (inside) copy_async(target + row * Row::stride + at, from + row * Row::row_bytes + at);
  }
}

/// Sixteen rows in the share's batches, after the side data.
template <class Weight, class T, class S>
__device__ __forceinline__ void request_share(u8* tile, const u8* matrix, int first, int share) {
  if constexpr (S::batches > 1) commit_copies();
#pragma unroll
  for (int batch = 0; batch < S::batches; ++batch) {
    request_batch<Weight, T, S, 16>(tile, 0, matrix, first, share, batch);
    commit_copies();
  }
}

/// The same with two matrices: into one tile, eight rows of each, or into two, sixteen of each.
template <class Weight, class T, class S>
__device__ __forceinline__ void request_halves(u8* tile, const u8* upper, const u8* lower, int first, int share) {
  if constexpr (S::batches > 1) commit_copies();
#pragma unroll
  for (int batch = 0; batch < S::batches; ++batch) {
    request_batch<Weight, T, S, 8>(tile, 0, upper, first, share, batch);
    request_batch<Weight, T, S, 8>(tile, 8, lower, first, share, batch);
    commit_copies();
  }
}
template <class Weight, class T, class S>
__device__ __forceinline__ void request_two(u8* tile, const u8* matrix, u8* tile2, const u8* matrix2, int first,
                                            int share) {
  if constexpr (S::batches > 1) commit_copies();
#pragma unroll
  for (int batch = 0; batch < S::batches; ++batch) {
    request_batch<Weight, T, S, 16>(tile, 0, matrix, first, share, batch);
    request_batch<Weight, T, S, 16>(tile2, 0, matrix2, first, share, batch);
    commit_copies();
  }
}

/// What must be there before the first block: the side data, and all codes when they come at once. A barrier
/// must follow.
template <class S>
__device__ __forceinline__ void wait_side() {
  wait_copies(S::batches > 1 ? S::batches : 0);
}
/// Block i of the warp's share is there, for the whole warp.
template <class S>
__device__ __forceinline__ void wait_block(int i) {
  if (S::batches > 1 && i % S::per_batch == 0) {
    wait_copies(S::batches - 1 - i / S::per_batch);
    __syncwarp();
  }
}

/// sums += block i of a warp's share of the tile's products with the staged rows of x: sums[0], [1] are
/// output row g with rows 2t, 2t+1 of x, sums[2], [3] output row g + 8, in lane 4 g + t. staged: rows
/// x_stride elements apart.
template <class Weight, class T, class S, class StagedAt>
__device__ __forceinline__ void multiply_block(const u8* tile, const T* staged, int x_stride, int rows, int share,
                                               int i, const float* map, StagedAt staged_at, float (&sums)[4]) {
  using Row = TileRow<Weight, T>;
  constexpr int K = Weight::K;
  const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, b = u32(share * S::each + i);
  if (!S::full && b >= S::blocks) return;
  const T* mine =
      staged + min(int(g), rows - 1) * x_stride;  // past the last row the last one again: nobody takes the sums
  Row low, high;
  low.block(tile, g, b, t);
  high.block(tile, g + 8, b, t);
  float part[2][4] = {}, x_part[2][4] = {};  // two chains each, so that the units need not wait for themselves
  constexpr u32 one = CodePairs<T>::one;
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    if (K % 128 != 0 && !Row::columns_by_thread && b * 128 + w * 32 >= K) break;
    const u32 column = b * 128 + (Row::columns_by_thread ? 32 * t + 8 * w : 32 * w + 8 * t);
    uint4 x = *reinterpret_cast<const uint4*>(mine + staged_at(K % 128 == 0 || column < K ? column : 0));
    if (K % 128 != 0 && column >= K) x = make_uint4(0, 0, 0, 0);
    u32 lower[4], upper[4];
    low.pairs(w, map, lower);
    high.pairs(w, map, upper);
    mma<T>(part[w % 2], lower[0], upper[0], lower[1], upper[1], x.x, x.y);
    mma<T>(part[w % 2], lower[2], upper[2], lower[3], upper[3], x.z, x.w);
    if constexpr (Row::factors != 0) {
      mma<T>(x_part[w % 2], one, one, one, one, x.x, x.y);
      mma<T>(x_part[w % 2], one, one, one, one, x.z, x.w);
    }
    if constexpr (Row::factors == 4) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Row& row = j < 2 ? low : high;
        sums[j] = fmaf(row.scale[w], fmaf(-row.shift[w], x_part[w % 2][j % 2], part[w % 2][j]), sums[j]);
        part[w % 2][j] = 0;
      }
      x_part[w % 2][0] = x_part[w % 2][1] = 0;
    }
  }
  if constexpr (Row::factors != 4) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float both = part[0][j] + part[1][j];
      if constexpr (Row::factors == 1) {
        const Row& row = j < 2 ? low : high;
        sums[j] = fmaf(row.scale[0], fmaf(-row.shift[0], x_part[0][j % 2] + x_part[1][j % 2], both), sums[j]);
      } else {
        sums[j] += both;
      }
    }
  }
}

}  // namespace fpf::kernel
