// Experiment 4: attention written out instead of flash attention.
#include "driver.hpp"

int main(int argc, char** argv) {
  const fpf::ExperimentInfo info{
      {"exp4_attention", "runs eager attention: scores, mask, softmax and product one after another",
       "exp4_attention --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
       "build/documents/bashref.pdf "
       "--prompt-tokens 1024"},
      "attention",
      "attention_impl",
      "flash_attention_2",
      "flash"};
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    if (runner.options().execution == "portable")
      fpf::fail("--execution portable: its definition has one attention, so there is nothing to vary");
    runner.run({"eager", "eager"}, runner.reference().with(runner.attention("eager")));
  });
}
