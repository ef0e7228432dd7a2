// Experiment 6: the reference on other software stacks, each a build of fpf of its own.
#include <fpf/core/atomic_directory.hpp>
#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/stack.hpp>

#include "driver.hpp"

int main(int argc, char** argv) {
  const std::string version = fpf::cuda_version();
  fpf::ExperimentInfo info{
      {"exp6_cuda_version", "runs the reference of builds against other libtorch and CUDA versions",
       "exp6_cuda_version --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
       "build/documents/bashref.pdf "
       "--prompt-tokens 1024 --stack build/stack-2.7.1"},
      "cuda_version",
      "cuda_version",
      version,
      fpf::cuda_tag(version)};
  info.options = fpf::stack_options;
  return fpf::experiment_main(argc, argv, info, [&](fpf::Runner& runner) {
    const auto& options = runner.options();
    if (options.stacks.empty())
      fpf::fail("--stack is missing: expected the build folder of another software stack");
    if (const auto found = runner.baseline().configuration().value("cuda_version", ""); found != version)
      fpf::fail("the baseline {} was made with CUDA {}, this build has {}", options.baseline, found, version);
    const std::filesystem::path parts = std::filesystem::path(options.out) / "cuda_version_experiment.parts";
    for (std::size_t i = 0; i < options.stacks.size(); ++i) {
      const auto other = fpf::run_stack(options, options.stacks[i], parts / std::to_string(i));
      const auto found = other.configuration().value("cuda_version", "");
      if (found == version)
        fpf::fail("--stack {} has CUDA {}, as this build has", options.stacks[i], version);
      runner.add(other, fpf::cuda_tag(found), found);
    }
    fpf::remove_tree(parts);
  });
}
