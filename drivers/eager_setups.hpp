// The decoders and experiments of written-out attention, which experiment 4 and verify run: compiled once in
// eager_setups.cpp (target fpf_eager_attention).
#pragma once

#include "reference_setups.hpp"

#define FPF_EAGER_SETUPS(EXTERN)                \
  FPF_DECODERS(EXTERN, Eager, Eager)            \
  FPF_DECODERS(EXTERN, Eager, Compiled)         \
  FPF_EXPERIMENTS(EXTERN, Eager, Single, Eager) \
  FPF_EXPERIMENTS(EXTERN, Eager, Single, Compiled)

namespace fpf {
FPF_EAGER_SETUPS(extern)
}
