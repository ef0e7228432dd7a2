// The experiments of several ranks, 7 and 8, which verify runs, too: compiled once in rank_setups.cpp (target
// fpf_ranks).
#pragma once

#include "reference_setups.hpp"

#define FPF_RANK_SETUPS(EXTERN)                    \
  FPF_EXPERIMENTS(EXTERN, Flash, Tensor, Eager)    \
  FPF_EXPERIMENTS(EXTERN, Flash, Tensor, Compiled) \
  FPF_EXPERIMENTS(EXTERN, Flash, Tensor, Portable) \
  FPF_EXPERIMENTS(EXTERN, Flash, Expert, Eager)    \
  FPF_EXPERIMENTS(EXTERN, Flash, Expert, Compiled) \
  FPF_EXPERIMENTS(EXTERN, Flash, Expert, Portable)

namespace fpf {
FPF_RANK_SETUPS(extern)
}
