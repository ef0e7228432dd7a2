// Toolkits that compile kernels on a machine without a GPU: libtorch's own, and those of cmake/setup.sh --cuda.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fpf/kernel/plan/plan.hpp>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

/// The wheels' folder that libtorch lies in.
inline const std::filesystem::path packages =
    std::filesystem::weakly_canonical(std::filesystem::path(FPF_BUILD) / "torch").parent_path();

inline std::shared_ptr<const fpf::kernel::Compiler> compiler() {
  static const auto shared =
      std::make_shared<const fpf::kernel::Compiler>(fpf::kernel::find_toolkit(packages / "nvidia/cu13"));
  return shared;
}

/// Another toolkit's, "11.8" say.
inline std::shared_ptr<const fpf::kernel::Compiler> compiler(const std::string& version) {
  return std::make_shared<const fpf::kernel::Compiler>(
      fpf::kernel::find_toolkit(std::filesystem::path(FPF_BUILD) / ("cuda-" + version)));
}

/// Of the kernels by older toolkits every eighth is compiled, of each set another, unless all are asked for
/// (tests/run.sh --full).
inline std::size_t step_of_older_toolkits() { return std::getenv("FPF_FULL_TESTS") != nullptr ? 1 : 8; }

/// What the .cuh calls the template parameters of a plan's kernel, "Weight, T, Lanes": a plan must name the same ones in the
/// same order. A swap of two numbers would compile, and launch another kernel than the plan describes.
inline std::string template_parameters(const fpf::kernel::Plan& plan) {
  const std::string name = plan.expression.substr(13, plan.expression.find('<') - 13);  // past fpf::kernel::
  std::string out;
  for (const auto& source : fpf::kernel::embedded_sources) {
    if (source.name != plan.file) continue;
    const std::size_t kernel = source.text.find(" " + name + "(const "), before = source.text.rfind("\n\n", kernel);
    if (kernel == std::string_view::npos) return "no kernel " + name + " in " + plan.file;
    std::size_t at = source.text.find("template <", before);
    if (at > kernel) return {};
    for (at += 10; source.text[at - 1] != '>';) {
      const std::size_t end = source.text.find_first_of(",>", at), word = source.text.rfind(' ', end) + 1;
      out += (out.empty() ? "" : ", ") + std::string(source.text.substr(word, end - word));
      at = end + 1;
    }
  }
  return out;
}

/// With FPF_WRITE_CODE=<file>: adds a line a kernel, "<toolkit> <architecture> <code_sha256> <expression>", in the order of
/// the plans. A move that changes no machine code leaves the first three words of every line as they were.
inline void write_code(const std::vector<fpf::kernel::KernelRecord>& records) {
  const char* to = std::getenv("FPF_WRITE_CODE");
  if (to == nullptr) return;
  std::ofstream out(to, std::ios::app);
  for (const auto& one : records)
    out << one.nvrtc_version << " sm_" << one.architecture << " " << one.resources.code_sha256 << " " << one.name
        << "\n";
}
