// The vector instructions of x86 as the compiler has them, or a test's emulation.
#pragma once

#include <fpf/portable/instruction_set.hpp>

#if defined(FPF_EMULATED_X86)
#include FPF_EMULATED_X86
#elif FPF_HAS_X86_VECTORS
#include <immintrin.h>
#endif
