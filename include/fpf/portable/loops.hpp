// The loops of the instruction set in use.
#pragma once

#include <fpf/portable/avx2.hpp>
#include <fpf/portable/avx512.hpp>

namespace fpf::portable {

inline const Loops& loops_of([[maybe_unused]] InstructionSet set) {
#if FPF_HAS_X86_VECTORS
  if (set == InstructionSet::avx512) return avx512::loops;
  if (set == InstructionSet::avx2) return avx2::loops;
#endif
  return plain::loops;
}

inline const Loops& loops() { return loops_of(instruction_set()); }

}  // namespace fpf::portable
