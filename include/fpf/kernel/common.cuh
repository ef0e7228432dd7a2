// What every kernel stands on: 16-bit types without CUDA's headers, 16-byte loads, warp reductions in a fixed
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

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(Bf16 value) { return __uint_as_float(u32(value.bits) << 16); }
__device__ __forceinline__ float to_float(Fp16 value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}

}  // namespace fpf::kernel
