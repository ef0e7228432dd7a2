// Experiment 6: the reference on other software stacks, each a build of fpf of its own.
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
  return fpf::experiment_main(argc, argv, info, [&](fpf::Runner& runner) { fpf::add_stacks(runner, version); });
}
