// From kernel sources to cached machine code, without a GPU: what is compiled, from what, with what, is on
// record.
#pragma once

#include <algorithm>
#include <fpf/core/hash.hpp>
#include <fpf/kernel/host/cubin.hpp>
#include <fpf/kernel/host/cubin_cache.hpp>
#include <fpf/kernel/host/nvrtc.hpp>
#include <fpf/kernel/sources.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::kernel {

/// What a manifest says of one kernel.
struct KernelRecord {
  std::string name;           // the C++ expression, shapes and types included
  std::string source;         // the file that holds it
  std::string source_sha256;  // of that file and all it includes
  std::string options;        // the compiler's, separated by spaces
  std::string nvrtc_version;  // "13.0"
  int architecture = 0;       // 90 for sm_90
  std::string cubin_sha256;
  KernelResources resources;
};

/// Machine code and its record.
struct Binary {
  std::vector<std::byte> cubin;
  std::string symbol;
  KernelRecord record;
  bool from_cache = false;
};

/// Compiles kernels for one architecture with one toolkit. Thread-safe.
class Builder {
 public:
  /// `sources` defaults to the kernels inside this library; a policy with kernels of its own appends them.
  /// Throws Error when the toolkit cannot target the architecture.
  Builder(std::shared_ptr<const Compiler> compiler, int architecture, CubinCache cache = {},
          std::vector<SourceText> sources = {embedded_sources.begin(), embedded_sources.end()})
      : compiler_(std::move(compiler)),
        architecture_(architecture),
        cache_(std::move(cache)),
        sources_(std::move(sources)) {
    compiler_->require_architecture(architecture_);
  }

  int architecture() const { return architecture_; }
  const Compiler& compiler() const { return *compiler_; }

  /// The code of the kernel `expression` (as "fpf::kernel::rms_norm<...>") in source file `file`.
  /// Throws Error when there is no such file, or when it does not compile.
  Binary build(std::string_view file, const std::string& expression) const {
    std::vector<SourceText> needed;
    collect(file, needed);
    Sha256 source_hash;
    for (const auto& text : needed) source_hash.update(text.name).update("\n").update(text.text).update("\n");

    Binary binary;
    binary.record = {expression, std::string(file), source_hash.hex(), {}, compiler_->version_name(), architecture_, {},
                     {}};
    // Functions that host and device share (weights/synthetic_values.hpp) say nothing of either.
    std::vector<std::string> options{fmt::format("--gpu-architecture=sm_{}", architecture_), "--std=c++17",
                                     keeps_operations(file) ? "--fmad=false" : "--fmad=true",
                                     "--device-as-default-execution-space"};
    binary.record.options = fmt::format("{}", fmt::join(options, " "));
    const std::string key = sha256_hex(fmt::format("{}\n{}\n{}\n{}", binary.record.source_sha256, binary.record.options,
                                                   binary.record.nvrtc_version, expression));

    auto compiled = cache_.load(key);
    binary.from_cache = compiled.has_value();
    if (!compiled) {
      // The headers' folder is the toolkit's, so its version stands for it in the key.
      if (const auto& include = compiler_->toolkit().include; !include.empty())
        options.push_back("--include-path=" + include.string());
      const std::vector<SourceText> headers(needed.begin() + 1, needed.end());
      compiled = compiler_->compile(needed.front(), headers, {expression}, options);
      cache_.store(key, *compiled);
    }
    binary.cubin = std::move(compiled->cubin);
    binary.symbol = compiled->lowered.front().second;
    binary.record.cubin_sha256 = sha256_hex(binary.cubin);
    for (auto& kernel : kernel_resources(binary.cubin))
      if (kernel.symbol == binary.symbol) binary.record.resources = std::move(kernel);
    return binary;
  }

 private:
  /// Whether a product and a sum stay two operations: the portable execution's kernels say themselves what is joined.
  static bool keeps_operations(std::string_view file) { return file.starts_with("fpf/kernel/portable/"); }

  /// `file` first, then everything it includes of fpf's and of its writer's, each once.
  void collect(std::string_view file, std::vector<SourceText>& needed) const {
    for (const auto& known : needed)
      if (known.name == file) return;
    const auto found =
        std::find_if(sources_.begin(), sources_.end(), [&](SourceText text) { return text.name == file; });
    if (found == sources_.end()) fail("there is no kernel source {}", file);
    needed.push_back(*found);
    constexpr std::string_view directive = "\n#include ";
    for (std::size_t at = 0; (at = found->text.find(directive, at)) != std::string_view::npos;) {
      at += directive.size();
      const std::string_view rest = found->text.substr(at);
      if (!rest.starts_with('"') && !rest.starts_with("<fpf/")) continue;  // CUDA's own
      collect(rest.substr(1, rest.find_first_of("\">", 1) - 1), needed);
    }
  }

  std::shared_ptr<const Compiler> compiler_;
  int architecture_;
  CubinCache cache_;
  std::vector<SourceText> sources_;
};

}  // namespace fpf::kernel
