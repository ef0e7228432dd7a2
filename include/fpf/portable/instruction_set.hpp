// Which vector instructions carry out the portable execution on this CPU. All give the same bits.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fpf/core/error.hpp>
#include <fpf/core/text.hpp>
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

#if defined(FPF_EMULATED_X86)  // of tests: the header that has x86's vector instructions as functions for every CPU
#define FPF_HAS_X86_VECTORS 1
#define FPF_AVX2 FPF_EXACT
#define FPF_AVX_VNNI FPF_EXACT
#define FPF_AVX512 FPF_EXACT
#define FPF_AVX512_VNNI FPF_EXACT
#define FPF_AMX FPF_EXACT
#elif defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define FPF_HAS_X86_VECTORS 1
#define FPF_AVX2 __attribute__((target("avx2,fma,f16c"))) FPF_EXACT
#define FPF_AVX_VNNI __attribute__((target("avxvnni,avx2,fma,f16c"))) FPF_EXACT
#define FPF_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c"))) FPF_EXACT
#define FPF_AVX512_VNNI __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma,f16c"))) FPF_EXACT
#define FPF_AMX \
  __attribute__((target("amx-tile,amx-int8,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma,f16c"))) FPF_EXACT
#else
#define FPF_HAS_X86_VECTORS 0
#endif

#if defined(__aarch64__)
#include <sys/auxv.h>
#define FPF_HAS_NEON 1
#define FPF_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod"))) FPF_EXACT
#else
#define FPF_HAS_NEON 0
#endif

namespace fpf::portable {

/// In ascending order of what is preferred. AVX-VNNI, AVX-512 VNNI, AMX and dotprod multiply bytes.
enum class InstructionSet : std::uint8_t { plain, avx2, avx_vnni, avx512, avx512_vnni, amx, neon, neon_dotprod };

inline constexpr std::array<std::string_view, 8> instruction_set_names{
    "plain", "avx2", "avx_vnni", "avx512", "avx512_vnni", "amx", "neon", "neon_dotprod"};
inline constexpr std::array<InstructionSet, 8> instruction_sets{
    InstructionSet::plain,       InstructionSet::avx2, InstructionSet::avx_vnni, InstructionSet::avx512,
    InstructionSet::avx512_vnni, InstructionSet::amx,  InstructionSet::neon,     InstructionSet::neon_dotprod};

constexpr std::string_view name_of(InstructionSet set) { return instruction_set_names[static_cast<std::size_t>(set)]; }

#if FPF_HAS_X86_VECTORS && !defined(FPF_EMULATED_X86)
namespace detail {

/// Whether the CPU multiplies tiles of bytes, and the kernel lets this process.
inline bool may_use_amx() {
  static const bool out = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & tile) == 0 || (d & int8) == 0) return false;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return out;
}

}  // namespace detail
#endif

/// Whether this CPU has it.
inline bool has(InstructionSet set) {
  using enum InstructionSet;
  if (set == plain) return true;
#if defined(FPF_EMULATED_X86)
  return set <= amx;
#elif FPF_HAS_X86_VECTORS
  const bool wide = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
                    __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  if (__builtin_cpu_supports("avx2") == 0 || __builtin_cpu_supports("fma") == 0) return false;
  if (set == avx2) return true;
  if (set == avx_vnni) return __builtin_cpu_supports("avxvnni") != 0;
  if (set == avx512) return wide;
  if (!wide || __builtin_cpu_supports("avx512vnni") == 0) return false;
  return set == avx512_vnni || (set == amx && detail::may_use_amx());
#elif FPF_HAS_NEON
  constexpr unsigned long dotprod = 1UL << 20;  // HWCAP_ASIMDDP
  return set == neon || (set == neon_dotprod && (getauxval(AT_HWCAP) & dotprod) != 0);
#else
  return false;
#endif
}

namespace detail {

/// The last that this CPU has, or what the environment variable FPF_INSTRUCTION_SET names.
inline InstructionSet first_instruction_set() {
  const char* const wanted = std::getenv("FPF_INSTRUCTION_SET");
  InstructionSet last = InstructionSet::plain;
  for (const InstructionSet set : instruction_sets) {
    if (has(set)) last = set;
    if (wanted == nullptr || name_of(set) != wanted) continue;
    if (!has(set)) fail("FPF_INSTRUCTION_SET={}: this CPU does not have it", wanted);
    return set;
  }
  if (wanted != nullptr)
    fail("FPF_INSTRUCTION_SET={}: expected one of {}", wanted, fmt::join(instruction_set_names, ", "));
  return last;
}

}  // namespace detail

/// What is used from now on; to be assigned to, while nothing runs, where another is wanted. Throws Error, at first,
/// for an environment variable that names none.
inline InstructionSet& instruction_set() {
  static InstructionSet chosen = detail::first_instruction_set();
  return chosen;
}

}  // namespace fpf::portable
