// Other builds of fpf, against another libtorch each, as configurations: their exp0_reference runs as a child
// process.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/core/child_process.hpp>
#include <fpf/evidence/labels.hpp>
#include <fpf/experiment/baseline.hpp>
#include <fpf/experiment/options.hpp>
#include <fpf/experiment/runner_declaration.hpp>
#include <string>

namespace fpf {

/// Runs BUILD/bin/exp0_reference with the shared options that this experiment was given; its file lies in
/// `folder` until the experiment is done, so that an interrupted one need not run it again. Throws Error when
/// there is no such program or it fails, and Interrupted. A finding of the child's is in its file.
inline Baseline run_stack(const Options& options, const std::filesystem::path& build,
                          const std::filesystem::path& folder) {
  const auto program = build / "bin" / "exp0_reference";
  const auto result = folder / "reference_baseline.json";
  if (!std::filesystem::exists(program))
    fail(
        "--stack {}: there is no {} (bash cmake/setup.sh --stack VERSION makes a build against another "
        "libtorch)",
        build.string(), program.string());
  if (options.resume && std::filesystem::exists(result)) return Baseline::read(result);
  if (!options.resume) remove_tree(folder);  // an earlier attempt's, which may have had other options
  std::filesystem::create_directories(folder);
  std::vector<std::string> args{program.string()};
  args.insert(args.end(), options.given.begin(), options.given.end());
  if (const auto tokens = std::ranges::find(args, "--tokens"); tokens != args.end() && tokens[1] == "baseline")
    tokens[1] = options.baseline;  // it has none of its own
  args.insert(args.end(), {"--out", folder.string()});
  if (options.resume) args.push_back("--resume");
  const int code = run_child(args);
  check_interrupt();
  if (code != static_cast<int>(ExitCode::ok) && code != static_cast<int>(ExitCode::finding))
    fail("--stack {}: its exp0_reference ended with exit code {}", build.string(), code);
  return Baseline::read(result);
}

/// Runs --stack's builds and adds each under its CUDA version, which must differ from `cuda`, that of this build. Until
/// the experiment is done their files lie in OUT/cuda_version_experiment.parts. Throws Error where it does not differ,
/// and what run_stack() throws.
inline void add_stacks(Runner& runner, const std::string& cuda) {
  const Options& options = runner.options();
  const auto cuda_of = [](const Baseline& reference) { return reference.configuration().value("cuda_version", ""); };
  const auto parts = std::filesystem::path(options.out) / "cuda_version_experiment.parts";
  for (std::size_t i = 0; i < options.stacks.size(); ++i) {
    const Baseline other = run_stack(options, options.stacks[i], parts / std::to_string(i));
    const auto found = cuda_of(other);
    if (found == cuda) fail("--stack {} has CUDA {}, as this build has", options.stacks[i], cuda);
    runner.add(other, evidence::cuda_tag(found), found);
  }
  remove_tree(parts);
}

}  // namespace fpf
