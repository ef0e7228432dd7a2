// Every result defined by IEEE 754 and a written order of operations: PORTABLE.md.
#pragma once

#include <fpf/execution/execution.hpp>
#include <fpf/execution/names.hpp>

namespace fpf::execution {

/// The same bits on any CPU and GPU, with any number of threads, rows or ranks. It brings engines of its own
/// (engine/portable_cpu.hpp): products and attention are part of the definition, so an attention policy has no say.
struct Portable {
  static constexpr std::string_view name = names::portable;
  static constexpr Stated<Portable, std::string_view> description{
      "fpf portable numerics, version 1: every operation is IEEE 754 binary32 in a written order (execution/PORTABLE.md)"};
  static constexpr Stated<Portable, bool> runs_on_gpu{true};
};

static_assert(Execution<Portable>);

}  // namespace fpf::execution
