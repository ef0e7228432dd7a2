// Experiment 2: the decode step with its element-wise chains fused.
#include "driver.hpp"

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{
      {"exp2_compile", "runs the compiled execution: fused chains, and on a GPU the whole step as one graph",
       "exp2_compile --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
       "build/documents/bashref.pdf "
       "--prompt-tokens 1024"},
      "compile",
      "compile",
      false,
      "eager"};
  info.baseline_params = {{"execution", "eager"}};
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    if (runner.options().execution != "eager") fpf::fail("--execution: this experiment varies it, leave it out");
    runner.run({"compiled", true}, runner.reference().with(runner.execution("compiled")));
  });
}
