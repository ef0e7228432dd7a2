// What every kernel stands on: 16-bit types without CUDA's headers, 16-byte loads, reductions in a fixed
// order. C++17; compiles under NVRTC 11.8 and later (no headers needed) and under nvcc.
#pragma once

namespace fpf::kernel {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

struct Bf16 {
  u16 bits;
};
struct Fp16 {
  u16 bits;
};

template <class A, class B>
inline constexpr bool same = false;
template <class A>
inline constexpr bool same<A, A> = true;

// ---- conversions: widening is exact, narrowing rounds to nearest even

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(Bf16 value) { return __uint_as_float(u32(value.bits) << 16); }
__device__ __forceinline__ float to_float(Fp16 value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}

template <class T>
__device__ __forceinline__ T from_float(float value) {
  if constexpr (sizeof(T) == 4) {
    return value;
  } else {
    T result;
    if constexpr (same<T, Bf16>)
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    else
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
  }
}

/// The value as it would be after a store and a load in T.
template <class T>
__device__ __forceinline__ float rounded(float value) {
  return to_float(from_float<T>(value));
}

/// Two 16-bit values in one register, the first in the low half.
template <class T>
__device__ __forceinline__ u32 pack(float first, float second) {
  u32 result;
  if constexpr (same<T, Bf16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
  return result;
}

template <class T>
__device__ __forceinline__ float2 unpack(u32 pair) {
  if constexpr (same<T, Bf16>) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
  } else {
    float2 result;
    asm("{ .reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high; }"
        : "=f"(result.x), "=f"(result.y)
        : "r"(pair));
    return result;
  }
}

/// a - b for pairs of T, each difference rounded once (exact wherever fpf uses it).
template <class T>
__device__ __forceinline__ u32 subtract_pair(u32 a, u32 b) {
  u32 result;
  if constexpr (same<T, Bf16>)  // sm_80 has only the fused form: b * -1 + a
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(b), "r"(0xbf80bf80u), "r"(a));
  else
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

template <class T>
__device__ __forceinline__ u32 multiply_pair(u32 a, u32 b) {
  u32 result;
  if constexpr (same<T, Bf16>)
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(0x80008000u));  // + -0: a product
  else
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

/// (value & mask) | bits in one instruction: left to itself the compiler takes two.
__device__ __forceinline__ u32 masked_or(u32 value, u32 mask, u32 bits) {
  u32 result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(value), "r"(mask), "r"(bits));
  return result;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr bool is_hopper = true;
#else
constexpr bool is_hopper = false;
#endif

/// For __launch_bounds__: as many blocks as leave a thread `registers` of a multiprocessor's 65536. Without a
/// word on it the compiler guesses how many blocks are wanted, and spills to get there.
__host__ __device__ constexpr int blocks_for(int registers, int threads) {
  return 65536 / (registers * threads) > 0 ? 65536 / (registers * threads) : 1;
}

// ---- 16 bytes at a time

/// How many T a 16-byte access holds.
template <class T>
inline constexpr int per_vector = 16 / int(sizeof(T));

/// Weights: read once, so past the first-level cache.
__device__ __forceinline__ uint4 load_stream(const void* address) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

/// The small things beside them. (Pointers that come out of shared memory would otherwise be taken for
/// generic ones.)
__device__ __forceinline__ u32 load_global(const u32* address) {
  u32 value;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}
__device__ __forceinline__ float load_global(const float* address) {
  float value;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(value) : "l"(address));
  return value;
}
template <class T>
__device__ __forceinline__ T load_global(const T* address) {
  static_assert(sizeof(T) == 2, "a 16-bit float");
  T value;
  asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(value.bits) : "l"(address));
  return value;
}

/// Data that another kernel may have written while this one was starting: from the second-level cache.
__device__ __forceinline__ int load_settled(const int* address) {
  int value;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}
__device__ __forceinline__ float load_settled(const float* address) {
  float value;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(address));
  return value;
}

/// The per_vector<T> values of a 16-byte vector, widened.
template <class T>
__device__ __forceinline__ void widen(const uint4& vector, float (&values)[per_vector<T>]) {
  const u32 words[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      values[i] = __uint_as_float(words[i]);
    } else {
      const float2 pair = unpack<T>(words[i]);
      values[2 * i] = pair.x;
      values[2 * i + 1] = pair.y;
    }
  }
}

template <class T>
__device__ __forceinline__ uint4 narrow(const float (&values)[per_vector<T>]) {
  if constexpr (sizeof(T) == 4)
    return make_uint4(__float_as_uint(values[0]), __float_as_uint(values[1]), __float_as_uint(values[2]),
                      __float_as_uint(values[3]));
  else
    return make_uint4(pack<T>(values[0], values[1]), pack<T>(values[2], values[3]), pack<T>(values[4], values[5]),
                      pack<T>(values[6], values[7]));
}

// ---- copies to shared memory that occupy no registers while they are under way

// What is copied is used whole, so the second-level cache may fetch 256 bytes at the first touch of them.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
}
/// Copies, or fills with zeros where `copy` is false (the address must be valid all the same).
__device__ __forceinline__ void copy_async_or_zero(void* shared, const void* global, bool copy) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(u32(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(copy ? 16 : 0)
               : "memory");
}
/// Waits for this thread's copies; those of others are there after the next barrier.
__device__ __forceinline__ void copies_done() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// Ends a batch of this thread's copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` (0..7) of this thread's batches are under way.
__device__ __forceinline__ void wait_copies(int pending) {
  switch (pending) {
    case 0:
      asm volatile("cp.async.wait_group 0;" ::: "memory");
      break;
    case 1:
      asm volatile("cp.async.wait_group 1;" ::: "memory");
      break;
    case 2:
      asm volatile("cp.async.wait_group 2;" ::: "memory");
      break;
    case 3:
      asm volatile("cp.async.wait_group 3;" ::: "memory");
      break;
    case 4:
      asm volatile("cp.async.wait_group 4;" ::: "memory");
      break;
    case 5:
      asm volatile("cp.async.wait_group 5;" ::: "memory");
      break;
    case 6:
      asm volatile("cp.async.wait_group 6;" ::: "memory");
      break;
    default:
      asm volatile("cp.async.wait_group 7;" ::: "memory");
      break;
  }
}

/// Rows of RowBytes (a multiple of 16), contiguous in memory, `stride` apart in shared memory, by Threads
/// threads.
template <int RowBytes, int Rows, int Threads>
__device__ __forceinline__ void copy_rows_async(u8* shared, int stride, const u8* global, int thread) {
  constexpr int per_row = RowBytes / 16, count = Rows * per_row;
  static_assert(RowBytes % 16 == 0, "rows are copied in pieces of 16 bytes");
#pragma unroll
  for (int i = 0; i < (count + Threads - 1) / Threads; ++i) {
    const u32 v = u32(i * Threads + thread);
    if (count % Threads == 0 || v < count)
      copy_async(shared + v / per_row * stride + v % per_row * 16, global + v * 16);
  }
}

// ---- reductions: the order is fixed by the code, never by timing

/// Sum over the warp by a butterfly; every lane gets it, and every lane the same bits.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

/// Sums N values over the warp at once (N a power of two, at most 32): lane l ends with the sum of value l /
/// (32 / N) in values[0]. Takes N - 1 + log2(32 / N) exchanges instead of 5 N.
template <int N>
__device__ __forceinline__ void warp_sums(float (&values)[N]) {
  const int lane = int(threadIdx.x % 32);
#pragma unroll
  for (int offset = 16, count = N; offset > 0; offset /= 2) {
    if (count > 1) {
      count /= 2;
      const bool upper = (lane & offset) != 0;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const float keep = upper ? values[i + count] : values[i];
        const float give = upper ? values[i] : values[i + count];
        values[i] = keep + __shfl_xor_sync(0xffffffffu, give, offset);
      }
    } else {
      values[0] += __shfl_xor_sync(0xffffffffu, values[0], offset);
    }
  }
}

/// Sum over a block of Threads, in the order of its warps. `scratch` holds Threads / 32 floats and may be
/// used again after the next barrier.
template <int Threads>
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  if constexpr (Threads == 32) return value;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < Threads / 32; ++warp) total += scratch[warp];
  return total;
}

// ---- overlapping with the kernel before (sm_90; a kernel that is launched plainly passes through at once)
//
// allow_next() lets the following kernel start once every block of this one has come to it;
// wait_for_previous() returns when the preceding kernel is complete and its results can be seen, and so,
// because it waited in its turn, is everything before. The rule: before its wait a kernel writes nothing and
// reads only what the model holds (weights, tables), and positions and earlier keys and values, which a step
// does not change. It allows the next one at once, and successors then fetch their weights deep in advance.
// Two kernels wait first: embed, which opens a step, so that the one before is over when anything of this
// step reads positions; and the experts' gate and up, so that their down can read the router's logits early.

__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void allow_next() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace fpf::kernel
