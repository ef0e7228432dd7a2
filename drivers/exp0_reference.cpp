// Experiment 0: the reference configuration, three times, bit for bit.
#include "driver.hpp"

int main(int argc, char** argv) {
  const fpf::ExperimentInfo info{
      {"exp0_reference", "runs the reference configuration, the baseline of all other experiments",
       "exp0_reference --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
       "build/documents/bashref.pdf "
       "--prompt-tokens 1024"},
      "reference",
      "none"};
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    runner.run({"reference", nullptr}, runner.reference());
  });
}
