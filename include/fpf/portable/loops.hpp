// The loops of the instruction set in use.
#pragma once

#include <fpf/portable/avx2.hpp>
#include <fpf/portable/avx512.hpp>
#include <fpf/portable/integer_amx.hpp>
#include <fpf/portable/integer_vnni.hpp>
#include <fpf/portable/neon.hpp>

namespace fpf::portable {

inline const Loops& loops_of([[maybe_unused]] InstructionSet set) {
  using enum InstructionSet;
#if FPF_HAS_X86_VECTORS
  if (set == avx512 || set == avx512_vnni || set == amx) return avx512::loops;
  if (set == avx2 || set == avx_vnni) return avx2::loops;
#endif
#if FPF_HAS_NEON
  if (set == neon || set == neon_dotprod) return neon::loops;
#endif
  return plain::loops;
}

inline const IntegerLoops& integer_loops_of([[maybe_unused]] InstructionSet set) {
  using enum InstructionSet;
#if FPF_HAS_X86_VECTORS
  if (set == amx) return amx::integer_loops;
  if (set == avx512_vnni) return avx512_vnni::integer_loops;
  if (set == avx_vnni) return avx_vnni::integer_loops;
  if (set == avx512 || set == avx2) return avx2::integer_loops;
#endif
#if FPF_HAS_NEON
  if (set == neon_dotprod) return neon_dotprod::integer_loops;
  if (set == neon) return neon::integer_loops;
#endif
  return plain::integer_loops;
}

inline const Loops& loops() { return loops_of(instruction_set()); }
inline const IntegerLoops& integer_loops() { return integer_loops_of(instruction_set()); }

}  // namespace fpf::portable
