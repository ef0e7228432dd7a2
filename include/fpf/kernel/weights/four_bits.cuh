// 4-bit codes in words, as Int4 and Nf4 have them. A word holds the codes of columns 8w..8w+7. Column 8w+c has nibble j
// = c/2 when c is even, 4 + c/2 when it is odd, and nibble j lies at bits 4j+3..4j+6, cyclically. Each turn of the word
// by 8 bits then brings two nibbles to bits 15..22, the top of a float's mantissa, and each shift by 4 brings two
// columns 2i and 2i+1 to bits 3..6 and 19..22, the top of two bfloat16s' mantissas: unpacking needs no conversion.
#pragma once

#include <fpf/kernel/shared/common.cuh>

namespace fpf::kernel {

/// Puts the eight codes of columns 8w.. into a packed word.
__device__ __forceinline__ u32 pack_codes(const u32 (&codes)[8]) {
  u32 word = 0;
#pragma unroll
  for (int c = 0; c < 8; ++c) word |= codes[c] << (4 * (c % 2 == 0 ? c / 2 : 4 + c / 2));
  return __funnelshift_l(word, word, 3);
}

/// The code of a stored column of a row [K].
template <int K>
__device__ __forceinline__ u32 code_at(const u8* matrix, i64 row, u32 stored) {
  const u32 word = reinterpret_cast<const u32*>(matrix)[row * (K / 8) + stored / 8], c = stored % 8;
  const u32 low_bit = (4 * (c % 2 == 0 ? c / 2 : 4 + c / 2) + 3) % 32;
  return __funnelshift_r(word, word, low_bit) & 15u;
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

}  // namespace fpf::kernel
