// The reference configuration's decoders and experiments, every format and execution: most experiments and many tests run
// no others, so they are compiled once, in reference_setups.cpp (target fpf_reference).
#pragma once

#include "setups.hpp"

#define FPF_REFERENCE_SETUPS(EXTERN)               \
  FPF_DECODERS(EXTERN, Flash, Eager)               \
  FPF_DECODERS(EXTERN, Flash, Compiled)            \
  FPF_PORTABLE_DECODERS(EXTERN)                    \
  FPF_EXPERIMENTS(EXTERN, Flash, Single, Eager)    \
  FPF_EXPERIMENTS(EXTERN, Flash, Single, Compiled) \
  FPF_EXPERIMENTS(EXTERN, Flash, Single, Portable)

namespace fpf {
FPF_REFERENCE_SETUPS(extern)
}
