// Whether two configurations ran the same machine code: without it, equal results say nothing about a compiler.
#pragma once

#include <algorithm>
#include <fpf/compare/configuration.hpp>
#include <optional>
#include <string>

namespace fpf::compare {

/// What one kernel is in two configurations.
struct KernelPair {
  std::string name;
  const Configuration::Kernel& a;
  const Configuration::Kernel& b;
  bool equal() const { return a.code_sha256 == b.code_sha256; }
};

/// The kernels that both ran, by name.
inline std::vector<KernelPair> common_kernels(const Configuration& a, const Configuration& b) {
  std::vector<KernelPair> out;
  for (const auto& [name, kernel] : a.kernels)
    if (const auto found = b.kernels.find(name); found != b.kernels.end()) out.push_back({name, kernel, found->second});
  return out;
}

/// Whether different compilers made the kernels of both.
inline bool compilers_differ(const Configuration& a, const Configuration& b) {
  return !a.kernels.empty() && !b.kernels.empty() && a.kernels.begin()->second.nvrtc != b.kernels.begin()->second.nvrtc;
}

/// A sentence on the machine code of two configurations whose kernels different compilers made; else nothing.
inline std::optional<std::string> machine_code_note(const Configuration& a, const Configuration& b) {
  if (!compilers_differ(a, b)) return {};
  const auto kernels = common_kernels(a, b);
  std::uint64_t instructions[2] = {0, 0};
  std::uint32_t registers[2] = {0, 0};
  for (const KernelPair& kernel : kernels) {
    instructions[0] += kernel.a.instructions;
    instructions[1] += kernel.b.instructions;
    registers[0] = std::max(registers[0], kernel.a.registers);
    registers[1] = std::max(registers[1], kernel.b.registers);
  }
  const auto different = std::ranges::count_if(kernels, [](const KernelPair& kernel) { return !kernel.equal(); });
  std::string out = fmt::format(
      "{} and {}: of {} kernels by NVRTC {} and {}, {} differ in machine code ({} and {} instructions in all, at most {} "
      "and {} registers a thread)",
      a.id, b.id, kernels.size(), a.kernels.begin()->second.nvrtc, b.kernels.begin()->second.nvrtc, different,
      instructions[0], instructions[1], registers[0], registers[1]);
  if (!b.by_libraries.empty())
    out += fmt::format("; libtorch's libraries, the same in both, carried out {}", fmt::join(b.by_libraries, ", "));
  return out;
}

}  // namespace fpf::compare
