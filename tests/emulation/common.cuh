// kernel/shared/common.cuh in plain C++: what the portable kernels use of CUDA, for one block after another with a
// fiber for every thread. Types and conversions have the names and meanings of the original; nothing else of it is
// here.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fpf/core/half.hpp>

#include "../fibers.hpp"

// CUDA's headers for the host have their own meanings of these.
#undef __device__
#undef __global__
#undef __host__
#undef __forceinline__
#undef __shared__
#undef __align__
#undef __launch_bounds__
#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)

namespace fpf::kernel {

// In this namespace they hide those that CUDA's headers for the host may have brought.
struct float2 {
  float x, y;
};
struct uint2 {
  unsigned x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, int shift) {
  return static_cast<unsigned>((std::uint64_t(high) << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, int shift) {
  return static_cast<unsigned>((std::uint64_t(high) << 32 | low) << (shift & 31) >> 32);
}

using std::max;
using std::min;
using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

using emulation::__reduce_max_sync;
using emulation::__reduce_min_sync;
using emulation::__shfl_down_sync;
using emulation::__shfl_sync;
using emulation::__shfl_up_sync;
using emulation::__shfl_xor_sync;
using emulation::__syncthreads;
using emulation::__syncwarp;
using emulation::blockIdx;
using emulation::gridDim;
using emulation::threadIdx;
inline int atomicAdd(int* to, int value) { return std::exchange(*to, *to + value); }

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

inline float to_float(float value) { return value; }
inline float to_float(Bf16 value) { return float32_from_bfloat16(value.bits); }
inline float to_float(Fp16 value) { return float32_from_float16(value.bits); }

template <class T>
T from_float(float value) {
  if constexpr (sizeof(T) == 4)
    return value;
  else
    return T{same<T, Bf16> ? bfloat16_from_float32(value) : float16_from_float32(value)};
}
template <class T>
u32 pack(float first, float second) {
  return from_float<T>(first).bits | u32(from_float<T>(second).bits) << 16;
}
template <class T>
float2 unpack(u32 pair) {
  return {to_float(T{u16(pair)}), to_float(T{u16(pair >> 16)})};
}
inline u32 masked_or(u32 value, u32 mask, u32 bits) { return (value & mask) | bits; }

template <class T>
inline constexpr int per_vector = 16 / int(sizeof(T));

inline void check_vector(const void* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) throw std::logic_error("16 bytes at a misaligned address");
}
inline uint4 load_stream(const void* address) {
  check_vector(address);
  uint4 out;
  std::memcpy(&out, address, 16);
  return out;
}
template <class T>
T load_global(const T* address) {
  return *address;
}
template <class T>
T load_settled(const T* address) {
  return *address;
}
template <class T>
void widen(const uint4& vector, float (&values)[per_vector<T>]) {
  T elements[per_vector<T>];
  std::memcpy(elements, &vector, 16);
  for (int i = 0; i < per_vector<T>; ++i) values[i] = to_float(elements[i]);
}
inline void copy_async_or_zero(void* shared, const void* global, bool copy) {
  check_vector(shared);
  check_vector(global);
  if (copy)
    std::memcpy(shared, global, 16);
  else
    std::memset(shared, 0, 16);
}
inline void copies_done() {}
inline void wait_for_previous() {}
inline void allow_next() {}

/// Of head.cuh's other kernels and of the tensor cores' tiles, which nothing here runs.
template <int RowBytes, int Rows, int Threads>
void copy_rows_async(u8*, int, const u8*, int) {}
template <int Threads>
float block_sum(float value, float*) {
  return value;
}
template <class T>
uint4 narrow(const float (&)[per_vector<T>]) {
  return {};
}

}  // namespace fpf::kernel
