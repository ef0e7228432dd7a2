// Which vector instructions carry out the portable execution on this CPU. All give the same bits.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fpf/core/error.hpp>
#include <string_view>

// Compilers may not join a product and a sum: GCC does where an instruction for both is at hand, even across
// statements.
#if defined(__clang__)
#define FPF_EXACT
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#define FPF_EXACT __attribute__((optimize("O3", "fp-contract=off", "no-trapping-math", "no-math-errno")))
#else
#error "fpf's portable execution needs GCC or clang"
#endif

#if defined(__x86_64__)
#define FPF_HAS_X86_VECTORS 1
#define FPF_AVX2 __attribute__((target("avx2,fma,f16c"))) FPF_EXACT
#define FPF_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c"))) FPF_EXACT
#else
#define FPF_HAS_X86_VECTORS 0
#endif

namespace fpf::portable {

enum class InstructionSet : std::uint8_t { plain, avx2, avx512 };

inline constexpr std::array<std::string_view, 3> instruction_set_names{"plain", "avx2", "avx512"};

constexpr std::string_view name_of(InstructionSet set) { return instruction_set_names[static_cast<std::size_t>(set)]; }

/// Whether this CPU has it.
inline bool has(InstructionSet set) {
  if (set == InstructionSet::plain) return true;
#if FPF_HAS_X86_VECTORS
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  if (set == InstructionSet::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0;
#else
  return false;
#endif
}

namespace detail {

/// The widest that this CPU has, or what the environment variable FPF_INSTRUCTION_SET names.
inline InstructionSet first_instruction_set() {
  if (const char* wanted = std::getenv("FPF_INSTRUCTION_SET")) {
    for (const auto set : {InstructionSet::plain, InstructionSet::avx2, InstructionSet::avx512})
      if (name_of(set) == wanted) {
        if (!has(set)) fail("FPF_INSTRUCTION_SET={}: this CPU does not have it", wanted);
        return set;
      }
    fail("FPF_INSTRUCTION_SET={}: expected plain, avx2 or avx512", wanted);
  }
  if (has(InstructionSet::avx512)) return InstructionSet::avx512;
  return has(InstructionSet::avx2) ? InstructionSet::avx2 : InstructionSet::plain;
}

}  // namespace detail

/// What is used from now on; to be assigned to, while nothing runs, where another is wanted. Throws Error, at first,
/// for an environment variable that names none.
inline InstructionSet& instruction_set() {
  static InstructionSet chosen = detail::first_instruction_set();
  return chosen;
}

}  // namespace fpf::portable
