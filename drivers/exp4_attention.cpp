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
    runner.with_policies([&]<class Quant, class Execution>() {
      if constexpr (std::is_same_v<Execution, fpf::execution::Portable>)
        fpf::fail("--execution portable: its definition has one attention, so there is nothing to vary");
      else
        runner.run<
            fpf::Experiment<Quant, fpf::attention::Eager, fpf::parallel::Single, fpf::stream::Exclusive, Execution>>(
            {"eager", "eager"});
    });
  });
}
