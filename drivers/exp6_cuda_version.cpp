// Experiment 6: fpf's own kernels by other CUDA toolkits' compilers, and the reference on other software stacks.
#include <fpf/evidence/labels.hpp>
#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/stack.hpp>
#include <fpf/experiment/toolkits.hpp>

#include "driver.hpp"

int main(int argc, char** argv) {
  const std::string version = fpf::cuda_version();
  fpf::ExperimentInfo info{
      {"exp6_cuda_version", "runs the reference with kernels of other CUDA toolkits, and on other builds of libtorch",
       "exp6_cuda_version --model 'synthetic:qwen3-30b-a3b?quant=awq' --prompt-ids ids.json --cuda 11.8 --cuda 12.1"},
      "cuda_version",
      "cuda_version",
      version,
      fpf::evidence::cuda_tag(version)};
  info.options = fpf::cuda_options;
  return fpf::experiment_main(argc, argv, info, [&](fpf::Runner& runner) {
    const auto& options = runner.options();
    if (options.toolkits.empty() && options.stacks.empty())
      fpf::fail("expected --cuda with a CUDA toolkit, or --stack with the build folder of another software stack");
    const auto baseline = runner.baseline().configuration();
    if (const auto found = baseline.value("cuda_version", ""); found != version)
      fpf::fail("the baseline {} was made with CUDA {}, this build has {}", options.baseline, found, version);
    const auto own = baseline.value(nlohmann::json::json_pointer("/manifest/nvrtc/version"), version);
    const auto toolkits = fpf::open_toolkits(options.toolkits, options.device, own);
    for (const auto& [cuda, compiler] : toolkits) {
      const fpf::device::ToolkitScope scope(compiler);
      runner.run({.tag = "nvrtc" + fpf::evidence::cuda_tag(cuda).substr(2),
                  .value = cuda,
                  .fixed = {{"kernels_by", "NVRTC " + cuda}}},
                 runner.reference());
    }
    fpf::add_stacks(runner, version);
  });
}
