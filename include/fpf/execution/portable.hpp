// Every result defined by IEEE 754 and a written order of operations: PORTABLE.md.
#pragma once

#include <fpf/execution/execution.hpp>
#include <fpf/execution/names.hpp>
#include <fpf/kernel/shared/portable_arithmetic.hpp>

namespace fpf::execution {

/// The same bits on any CPU and GPU, with any number of threads, rows or ranks. It brings engines of its own
/// (engine/portable_cpu.hpp): products and attention are part of the definition, so an attention policy has no say.
struct Portable {
  static constexpr std::string_view name = names::portable;
  static constexpr Stated<Portable, std::string_view> description{
      "fpf portable numerics, version 2: exact integers and IEEE 754 binary32 in a written order (execution/PORTABLE.md)"};
  static constexpr Stated<Portable, bool> runs_on_gpu{true};
};

static_assert(Execution<Portable>);

/// The version of the portable numerics that a manifest's policies.execution_detail names; 0 for a text that no
/// version of fpf wrote.
constexpr int portable_version(std::string_view detail) {
  constexpr std::string_view before = "fpf portable numerics, version ";
  if (!detail.starts_with(before)) return 0;
  detail.remove_prefix(before.size());
  const std::string_view digits = detail.substr(0, detail.find(": "));
  if (digits.empty() || digits.size() > 4 || digits.size() == detail.size() || digits.front() == '0') return 0;
  int out = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return 0;
    out = 10 * out + (c - '0');
  }
  return out;
}
static_assert(portable_version(Portable::description.value) == portable::version);

}  // namespace fpf::execution
