// Matrix-vector products with packed weights. A block computes Groups * PerThread output rows; each row is
// shared by Lanes threads, which hold their part of x in registers for all rows. All weights of a block are
// requested before the kernel waits for its predecessor, so that memory is busy while the predecessor ends.
//
// Several rows of x are computed one after another against the same registers: each gets the bits of a launch
// with that row alone (batch-invariant). rows.cuh has the other arithmetic for 2 to 8 rows.
#pragma once

#include <fpf/kernel/shared/params.hpp>
#include <fpf/kernel/weights/formats.cuh>

namespace fpf::kernel {

// ---- x in shared memory

/// Where column k stands: as layout.hpp's staged_columns() has it.
template <class Weight, class T>
__device__ __forceinline__ u32 staged_at(u32 column) {
  return Weight::chunk == 32 ? column + column / 32 * u32(per_vector<T>) : column;
}

template <class Weight, class T>
inline constexpr int staged_size = staged_columns(Weight::K, Weight::chunk, per_vector<T>);

/// Vectors of x that one of Threads threads stages.
template <class Weight, class T, int Threads>
inline constexpr int staged_vectors = (Weight::K / per_vector<T> + Threads - 1) / Threads;

/// Puts one vector of x where the stored columns' order has it.
template <class Weight, class T>
__device__ __forceinline__ void stage_vector(T* staged, const u8* matrix, i64 n, int vector, const uint4& values) {
  constexpr int width = per_vector<T>;
  if constexpr (Weight::permuted) {
    const i32* columns = reinterpret_cast<const i32*>(matrix + Weight::columns_at(n));
    const T* value = reinterpret_cast<const T*>(&values);
#pragma unroll
    for (int i = 0; i < width; ++i) staged[staged_at<Weight, T>(columns[vector * width + i])] = value[i];
  } else {
    *reinterpret_cast<uint4*>(staged + staged_at<Weight, T>(vector * width)) = values;
  }
}

/// x [K] -> shared memory, by Threads threads of which this is number `thread`.
template <class Weight, class T, int Threads>
__device__ __forceinline__ void stage(T* staged, const T* x, const u8* matrix, i64 n, int thread) {
  constexpr int vectors = Weight::K / per_vector<T>;
#pragma unroll
  for (int v = 0; v < staged_vectors<Weight, T, Threads>; ++v) {
    const int vector = v * Threads + thread;
    if (vector < vectors) stage_vector<Weight>(staged, matrix, n, vector, reinterpret_cast<const uint4*>(x)[vector]);
  }
}

/// A norm's weights for the columns that this thread stages: requested early, they depend on nothing.
template <class Weight, class T, int Threads>
struct NormWeights {
  uint4 vectors[staged_vectors<Weight, T, Threads>];

  __device__ __forceinline__ void load(const void* weight) {
#pragma unroll
    for (int v = 0; v < staged_vectors<Weight, T, Threads>; ++v) {
      const int vector = v * Threads + int(threadIdx.x);
      if (vector < Weight::K / per_vector<T>) vectors[v] = load_stream(reinterpret_cast<const uint4*>(weight) + vector);
    }
  }
};

/// RMSNorm(x) * weight in float32, rounded once -> shared memory, and to `normed` unless it is null.
/// `scratch`: Threads/32.
template <class Weight, class T, int Threads>
__device__ __forceinline__ void stage_normed(T* staged, const T* x, const NormWeights<Weight, T, Threads>& weights,
                                             float eps, T* normed, float* scratch, const u8* matrix, i64 n) {
  constexpr int width = per_vector<T>, count = staged_vectors<Weight, T, Threads>, vectors = Weight::K / width;
  float values[count][width], squares = 0;
#pragma unroll
  for (int v = 0; v < count; ++v) {
    const int vector = v * Threads + int(threadIdx.x);
    if (vector >= vectors) continue;
    widen<T>(reinterpret_cast<const uint4*>(x)[vector], values[v]);
#pragma unroll
    for (int i = 0; i < width; ++i) squares = fmaf(values[v][i], values[v][i], squares);
  }
  const float inverse = rsqrtf(block_sum<Threads>(squares, scratch) * (1.0f / float(Weight::K)) + eps);
#pragma unroll
  for (int v = 0; v < count; ++v) {
    const int vector = v * Threads + int(threadIdx.x);
    if (vector >= vectors) continue;
    float weight[width];
    widen<T>(weights.vectors[v], weight);
#pragma unroll
    for (int i = 0; i < width; ++i) values[v][i] = values[v][i] * inverse * weight[i];
    const uint4 result = narrow<T>(values[v]);
    stage_vector<Weight>(staged, matrix, n, vector, result);
    if (normed != nullptr) reinterpret_cast<uint4*>(normed)[vector] = result;
  }
}

/// Row r of x -> shared memory, normalised when Norm; the grid's first block keeps what it normalised, where it is
/// wanted.
template <class Weight, class T, int Threads, bool Norm>
__device__ __forceinline__ void stage_row(T* staged, const GemvParams& p, int r,
                                          const NormWeights<Weight, T, Threads>& norm, float* scratch) {
  const u8* matrix = static_cast<const u8*>(p.matrix);
  const T* x = static_cast<const T*>(p.x) + i64(r) * Weight::K;
  if constexpr (Norm) {
    T* normed = blockIdx.x == 0 && p.normed != nullptr ? static_cast<T*>(p.normed) + i64(r) * Weight::K : nullptr;
    stage_normed<Weight, T, Threads>(staged, x, norm, p.eps, normed, scratch, matrix, p.n);
  } else {
    stage<Weight, T, Threads>(staged, x, matrix, p.n, int(threadIdx.x));
  }
}

// ---- the product

/// PerThread rows of weights in registers: what one thread reads of them.
template <class Weight, int Lanes, int PerThread>
struct WeightRows {
  static constexpr int pieces = (Weight::K / Weight::chunk + Lanes - 1) / Lanes;  // per row and thread
  static constexpr bool full = pieces * Lanes * Weight::chunk == Weight::K;
  typename Weight::Piece piece[PerThread][pieces];

  __device__ static __forceinline__ bool inside(int lane, int p) {
    return full || p * Lanes + lane < Weight::K / Weight::chunk;
  }

  /// Where the rows of a thread that is to do first.. begin: the last threads do the last rows, which others
  /// do too, so that all addresses lie at constant distances. n >= PerThread.
  __device__ static __forceinline__ int begin(int first, int n) { return min(first, n - PerThread); }

  __device__ __forceinline__ void load(const u8* matrix, int n, int first, int lane) {
    const int row = begin(first, n);
#pragma unroll
    for (int i = 0; i < PerThread; ++i)
#pragma unroll
      for (int p = 0; p < pieces; ++p)
        if (inside(lane, p)) piece[i][p] = Weight::load(matrix, n, row, i, p * Lanes + lane);
  }

  /// This thread's part of each row's product with the staged x.
  template <class T>
  __device__ __forceinline__ void multiply(const T* staged, int lane, const float* map,
                                           float (&sums)[PerThread]) const {
#pragma unroll
    for (int i = 0; i < PerThread; ++i) sums[i] = 0;
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      if (!inside(lane, p)) continue;
      const u32 index = p * Lanes + lane;
      float x[Weight::chunk];
      const T* mine = staged + staged_at<Weight, T>(index * u32(Weight::chunk));
#pragma unroll
      for (int v = 0; v < Weight::chunk / per_vector<T>; ++v)
        widen<T>(reinterpret_cast<const uint4*>(mine)[v],
                 *reinterpret_cast<float(*)[per_vector<T>]>(x + v * per_vector<T>));
      typename Weight::Input input;
      Weight::prepare(input, [&](int k) { return x[k]; });
#pragma unroll
      for (int i = 0; i < PerThread; ++i) sums[i] += Weight::dot(piece[i][p], input, index, map);
    }
  }
};

/// Adds the parts of a row over its Lanes threads. With one warp per row the sums of the warp's rows end in
/// the lanes l with l % (32 / PerThread) == 0; with several they go to partial[row in block][warp of row].
template <int Lanes, int PerThread>
__device__ __forceinline__ void reduce_rows(float (&sums)[PerThread], float* partial) {
  constexpr int warps = Lanes / 32;
  warp_sums(sums);
  const int lane = int(threadIdx.x % 32), warp = int(threadIdx.x % Lanes / 32), group = int(threadIdx.x / Lanes);
  if (lane % (32 / PerThread) == 0) partial[(group * PerThread + lane / (32 / PerThread)) * warps + warp] = sums[0];
}

template <int Lanes>
__device__ __forceinline__ float row_total(const float* partial, int row) {
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < Lanes / 32; ++warp) total += partial[row * (Lanes / 32) + warp];
  return total;
}

/// What needs no activations (a thread's weights of the rows from `first` on, the norm's, the map); then waits for
/// them.
template <bool Norm, class Weight, class T, int Threads, int Lanes, int PerThread>
__device__ __forceinline__ void open(WeightRows<Weight, Lanes, PerThread>& weights,
                                     NormWeights<Weight, T, Threads>& norm, float* map, const GemvParams& p, int first,
                                     int lane) {
  const u8* matrix = static_cast<const u8*>(p.matrix);
  weights.load(matrix, p.n, first, lane);
  if constexpr (Norm) norm.load(p.norm_weight);
  load_map<Weight>(map, matrix, p.n);
  allow_next();
  wait_for_previous();
}

/// Grid: ceil(n / (Groups * PerThread)) blocks of Lanes * Groups threads. K is Weight::K; n >= PerThread.
/// Norm: x is RMS-normalised on the way in. Add: the residual, or a bias, is added to the float32 sum before it
/// is rounded (GemvParams).
template <class Weight, class T, int Lanes, int Groups, int PerThread, bool Norm, int Add>
__global__ void __launch_bounds__(Lanes* Groups) gemv(const GemvParams p) {
  constexpr int threads = Lanes * Groups, rows_per_block = Groups * PerThread;
  __shared__ __align__(16) T staged[staged_size<Weight, T>];
  __shared__ float partial[most_rows][rows_per_block * (Lanes / 32)];
  __shared__ float scratch[threads / 32], map[16];
  const int lane = int(threadIdx.x % Lanes), group = int(threadIdx.x / Lanes);
  const int block_first = int(blockIdx.x) * rows_per_block;

  WeightRows<Weight, Lanes, PerThread> weights;
  NormWeights<Weight, T, threads> norm;
  open<Norm>(weights, norm, map, p, block_first + group * PerThread, lane);

  for (int r = 0; r < p.rows; ++r) {
    stage_row<Weight, T, threads, Norm>(staged, p, r, norm, scratch);
    __syncthreads();
    float sums[PerThread];
    weights.multiply(staged, lane, map, sums);
    reduce_rows<Lanes>(sums, partial[r]);
    __syncthreads();
  }
  for (int i = int(threadIdx.x); i < p.rows * rows_per_block; i += threads) {
    const int r = i / rows_per_block, row = i % rows_per_block;
    const int first = block_first + row / PerThread * PerThread;
    const int column = weights.begin(first, p.n) + row % PerThread;
    if (column < first) continue;  // another thread's
    float total = row_total<Lanes>(partial[r], row);
    const i64 at = i64(r) * p.n + column;
    if constexpr (Add != 0) total += to_float(static_cast<const T*>(p.residual)[Add == 2 ? column : at]);
    static_cast<T*>(p.out)[at] = from_float<T>(total);
  }
}

/// The same product for matrices far larger than the chip (the head): a resident grid walks over the rows,
/// one warp a row of PerWarp at a time, the next ones requested before the present ones are used. Dynamic
/// shared memory: rows * K.
template <class Weight, class T, int Warps, int PerWarp, bool Norm>
__global__ void __launch_bounds__(Warps * 32) gemv_stream(const GemvParams p) {
  constexpr int threads = Warps * 32;
  extern __shared__ __align__(16) u8 dynamic[];
  __shared__ float scratch[Warps], map[16];
  T* staged = reinterpret_cast<T*>(dynamic);  // [rows, staged_size]
  const u8* matrix = static_cast<const u8*>(p.matrix);
  const int lane = int(threadIdx.x % 32);
  const int step = int(gridDim.x) * Warps * PerWarp;
  int first = (int(blockIdx.x) * Warps + int(threadIdx.x / 32)) * PerWarp;

  WeightRows<Weight, 32, PerWarp> weights;
  NormWeights<Weight, T, threads> norm;
  open<Norm>(weights, norm, map, p, first, lane);

  for (int r = 0; r < p.rows; ++r) {
    stage_row<Weight, T, threads, Norm>(staged + r * staged_size<Weight, T>, p, r, norm, scratch);
    __syncthreads();
  }
  for (; first < p.n; first += step) {
    WeightRows<Weight, 32, PerWarp> next;
    next.load(matrix, p.n, first + step, lane);
    for (int r = 0; r < p.rows; ++r) {
      float sums[PerWarp];
      weights.multiply(staged + r * staged_size<Weight, T>, lane, map, sums);
      warp_sums(sums);
      const int column = weights.begin(first, p.n) + lane / (32 / PerWarp);
      if (lane % (32 / PerWarp) == 0 && column >= first)
        static_cast<T*>(p.out)[i64(r) * p.n + column] = from_float<T>(sums[0]);
    }
    weights = next;
  }
}

}  // namespace fpf::kernel
