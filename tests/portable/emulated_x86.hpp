// x86's vector instructions for every CPU, under the names of immintrin.h: SIMD Everywhere, and what it lacks or does
// otherwise. What FPF_EMULATED_X86 names (portable/intrinsics.hpp).
#pragma once

#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#pragma GCC diagnostic pop

#include <cstdint>
#include <cstring>

namespace emulated_x86 {

/// Vectors lane by lane.
template <class Lane, class Vector>
struct Lanes {
  static constexpr int count = sizeof(Vector) / sizeof(Lane);
  Lane of[count];

  explicit Lanes(const Vector& vector) { std::memcpy(of, &vector, sizeof(of)); }
  operator Vector() const {
    Vector out;
    std::memcpy(&out, of, sizeof(of));
    return out;
  }
};

/// One rounding; SIMDe's rounds the product, too, where the CPU has no such instruction.
template <class Vector>
Vector fmadd(const Vector& a, const Vector& b, const Vector& c) {
  const Lanes<float, Vector> x(a), y(b);
  Lanes<float, Vector> out(c);
  for (int i = 0; i < out.count; ++i) out.of[i] = __builtin_fmaf(x.of[i], y.of[i], out.of[i]);
  return out;
}

template <class Vector>
Vector fmsub(const Vector& a, const Vector& b, const Vector& c) {
  Lanes<float, Vector> negative(c);
  for (float& lane : negative.of) lane = -lane;
  return fmadd<Vector>(a, b, negative);
}

/// Four unsigned bytes times four signed ones onto each int32.
template <class Vector>
Vector dpbusd(const Vector& sum, const Vector& a, const Vector& b) {
  const Lanes<std::uint8_t, Vector> x(a);
  const Lanes<std::int8_t, Vector> y(b);
  Lanes<std::uint32_t, Vector> out(sum);  // wraps
  for (int i = 0; i < x.count; ++i) out.of[i / 4] += static_cast<std::uint32_t>(x.of[i] * y.of[i]);
  return out;
}

/// Each lane converted.
template <class To, class Lane, class ToVector, class Vector>
ToVector converted(const Vector& a) {
  const Lanes<Lane, Vector> x(a);
  Lanes<To, ToVector> out{ToVector{}};
  static_assert(x.count == out.count);
  for (int i = 0; i < x.count; ++i) out.of[i] = static_cast<To>(x.of[i]);
  return out;
}
inline __m512 cvtph(const __m256i& halves) {
  const Lanes<__m128i, __m256i> x(halves);
  Lanes<__m256, __m512> out{__m512{}};
  for (int i = 0; i < 2; ++i) out.of[i] = simde_mm256_cvtph_ps(x.of[i]);
  return out;
}

inline __m512i shifted_right(const __m512i& a, unsigned by) {
  Lanes<std::int32_t, __m512i> out(a);
  for (std::int32_t& lane : out.of) lane = lane >> (by < 32 ? by : 31);
  return out;
}

template <class Lane, class Vector>
Vector masked_load(simde__mmask16 mask, const void* from) {
  Lanes<Lane, Vector> out{Vector{}};
  for (int i = 0; i < out.count; ++i)
    if ((mask >> i & 1) != 0) std::memcpy(&out.of[i], static_cast<const Lane*>(from) + i, sizeof(Lane));
  return out;
}
inline float largest(simde__mmask16 mask, const __m512& a) {
  const Lanes<float, __m512> x(a);
  float out = -__builtin_inff();
  for (int i = 0; i < x.count; ++i)
    if ((mask >> i & 1) != 0 && x.of[i] > out) out = x.of[i];
  return out;
}
inline std::int32_t sum(simde__mmask16 mask, const __m512i& a) {
  const Lanes<std::uint32_t, __m512i> x(a);
  std::uint32_t out = 0;  // wraps
  for (int i = 0; i < x.count; ++i) out += (mask >> i & 1) != 0 ? x.of[i] : 0;
  return static_cast<std::int32_t>(out);
}
/// Of each four lanes two of a, then two of b.
inline __m512 shuffled(const __m512& a, const __m512& b, unsigned which) {
  const Lanes<float, __m512> x(a), y(b);
  Lanes<float, __m512> out{__m512{}};
  for (int i = 0; i < out.count; ++i)
    out.of[i] = (i % 4 < 2 ? x : y).of[i / 4 * 4 + static_cast<int>(which >> 2 * (i % 4) & 3u)];
  return out;
}

/// The second where one is no number, as MAXPS and MINPS; SIMDe's are not all so.
template <bool Most, class Vector>
Vector extreme(const Vector& a, const Vector& b) {
  const Lanes<float, Vector> x(a);
  Lanes<float, Vector> out(b);
  for (int i = 0; i < out.count; ++i)
    if (Most ? x.of[i] > out.of[i] : x.of[i] < out.of[i]) out.of[i] = x.of[i];
  return out;
}

// ---- AMX, as in Intel's manual (volume 1, chapter 18, and the instructions' operations in volume 2)

struct Tile {
  std::uint8_t bytes[16][64];
};
struct Tiles {
  bool configured = false;
  std::uint16_t row_bytes[8];
  std::uint8_t rows[8];
  Tile of[8];
};
inline thread_local Tiles tiles;

inline void refuse(bool wrong) {
  if (wrong) __builtin_trap();  // where the CPU raises #UD or #GP
}
inline Tile& tile(int which) {
  refuse(!tiles.configured || which < 0 || which > 7 || tiles.rows[which] == 0 || tiles.row_bytes[which] == 0);
  return tiles.of[which];
}

/// LDTILECFG: 64 bytes, of which a palette, the first row, 14 reserved, bytes a row of 16 tiles, rows of 16 tiles.
inline void loadconfig(const void* from) {
  std::uint8_t bytes[64];
  std::memcpy(bytes, from, 64);
  tiles = Tiles();
  refuse(bytes[0] > 1);
  if (bytes[0] == 0) return;
  for (int i = 2; i < 16; ++i) refuse(bytes[i] != 0);
  std::uint16_t row_bytes[16];
  std::memcpy(row_bytes, bytes + 16, 32);
  for (int i = 0; i < 16; ++i) {
    const std::uint8_t rows = bytes[48 + i];
    refuse(i < 8 ? row_bytes[i] > 64 || rows > 16 || (row_bytes[i] == 0) != (rows == 0)
                 : row_bytes[i] != 0 || rows != 0);
    if (i < 8) tiles.row_bytes[i] = row_bytes[i], tiles.rows[i] = rows;
  }
  std::memset(tiles.of, 0, sizeof(tiles.of));
  tiles.configured = true;
}
inline void release() { tiles = Tiles(); }

inline void zero(int to) { tile(to) = Tile{}; }
inline void load(int to, const void* from, std::ptrdiff_t stride) {
  Tile& out = tile(to) = Tile{};
  for (int r = 0; r < tiles.rows[to]; ++r)
    std::memcpy(out.bytes[r], static_cast<const std::uint8_t*>(from) + r * stride, tiles.row_bytes[to]);
}
inline void store(int from, void* to, std::ptrdiff_t stride) {
  const Tile& in = tile(from);
  for (int r = 0; r < tiles.rows[from]; ++r)
    std::memcpy(static_cast<std::uint8_t*>(to) + r * stride, in.bytes[r], tiles.row_bytes[from]);
}

/// TDPB..D: quadruples of bytes of a's rows times those of b's columns, onto int32.
template <class A, class B>
void multiply(int to, int a, int b) {
  const Tile x = tile(a), y = tile(b);
  Tile& out = tile(to);
  const int columns = tiles.row_bytes[to] / 4, depth = tiles.row_bytes[a] / 4;
  refuse(to == a || to == b || a == b || tiles.row_bytes[to] % 4 != 0 || tiles.row_bytes[a] % 4 != 0 ||
         tiles.row_bytes[b] != tiles.row_bytes[to] || tiles.rows[a] != tiles.rows[to] || tiles.rows[b] != depth);
  for (int m = 0; m < tiles.rows[to]; ++m)
    for (int n = 0; n < columns; ++n) {
      std::uint32_t sum;  // wraps
      std::memcpy(&sum, out.bytes[m] + 4 * n, 4);
      for (int k = 0; k < 4 * depth; ++k)
        sum +=
            static_cast<std::uint32_t>(static_cast<A>(x.bytes[m][k]) * static_cast<B>(y.bytes[k / 4][4 * n + k % 4]));
      std::memcpy(out.bytes[m] + 4 * n, &sum, 4);
    }
}

}  // namespace emulated_x86

#define __mmask16 simde__mmask16
#undef _mm256_fmadd_ps
#define _mm256_fmadd_ps(a, b, c) emulated_x86::fmadd<__m256>(a, b, c)
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps(a, b, c) emulated_x86::fmadd<__m512>(a, b, c)
#undef _mm256_fmsub_ps
#define _mm256_fmsub_ps(a, b, c) emulated_x86::fmsub<__m256>(a, b, c)
#undef _mm512_fmsub_ps
#define _mm512_fmsub_ps(a, b, c) emulated_x86::fmsub<__m512>(a, b, c)
#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32(sum, a, b) emulated_x86::dpbusd<__m512i>(sum, a, b)
#define _mm256_dpbusd_avx_epi32(sum, a, b) emulated_x86::dpbusd<__m256i>(sum, a, b)
#define _mm512_maskz_cvtph_ps(mask, a) simde_mm512_maskz_mov_ps(mask, emulated_x86::cvtph(a))
#define _mm512_maskz_cvtepi32_ps(mask, a) \
  simde_mm512_maskz_mov_ps(mask, (emulated_x86::converted<float, std::int32_t, __m512, __m512i>(a)))
#define _mm512_maskz_cvtepu8_epi32(mask, a) \
  simde_mm512_maskz_mov_epi32(mask, (emulated_x86::converted<std::int32_t, std::uint8_t, __m512i, __m128i>(a)))
#define _mm512_maskz_slli_epi32(mask, a, by) simde_mm512_maskz_mov_epi32(mask, simde_mm512_slli_epi32(a, by))
#define _mm512_maskz_srai_epi32(mask, a, by) simde_mm512_maskz_mov_epi32(mask, emulated_x86::shifted_right(a, by))

#define _mm512_maskz_cvtepi32_epi16(mask, a) \
  simde_mm256_maskz_mov_epi16(mask, (emulated_x86::converted<std::int16_t, std::int32_t, __m256i, __m512i>(a)))
#define _mm512_maskz_loadu_epi32(mask, from) emulated_x86::masked_load<std::int32_t, __m512i>(mask, from)
#define _mm512_maskz_loadu_ps(mask, from) emulated_x86::masked_load<float, __m512>(mask, from)
#define _mm512_mask_reduce_max_ps(mask, a) emulated_x86::largest(mask, a)
#define _mm512_mask_reduce_add_epi32(mask, a) emulated_x86::sum(mask, a)
#define _mm512_maskz_shuffle_ps(mask, a, b, which) simde_mm512_maskz_mov_ps(mask, emulated_x86::shuffled(a, b, which))

#undef _mm512_max_ps
#define _mm512_max_ps(a, b) (emulated_x86::extreme<true, __m512>(a, b))
#undef _mm512_min_ps
#define _mm512_min_ps(a, b) (emulated_x86::extreme<false, __m512>(a, b))
#undef _mm512_maskz_max_ps
#define _mm512_maskz_max_ps(mask, a, b) simde_mm512_maskz_mov_ps(mask, (emulated_x86::extreme<true, __m512>(a, b)))
#undef _mm512_maskz_min_ps
#define _mm512_maskz_min_ps(mask, a, b) simde_mm512_maskz_mov_ps(mask, (emulated_x86::extreme<false, __m512>(a, b)))

#define _tile_loadconfig emulated_x86::loadconfig
#define _tile_release emulated_x86::release
#define _tile_zero emulated_x86::zero
#define _tile_loadd emulated_x86::load
#define _tile_stream_loadd emulated_x86::load
#define _tile_stored emulated_x86::store
#define _tile_dpbssd (emulated_x86::multiply<std::int8_t, std::int8_t>)
#define _tile_dpbsud (emulated_x86::multiply<std::int8_t, std::uint8_t>)
#define _tile_dpbusd (emulated_x86::multiply<std::uint8_t, std::int8_t>)
#define _tile_dpbuud (emulated_x86::multiply<std::uint8_t, std::uint8_t>)
