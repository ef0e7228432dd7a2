// Experiment 1: the reference prompt in a batch with others of its length.
#include "driver.hpp"

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{
      {"exp1_batch_size", "runs the reference prompt in batches with prompts from other documents",
       "exp1_batch_size --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
       "build/documents/bashref.pdf "
       "--prompt-tokens 1024 --neighbour-pdf build/documents/developers-reference.pdf --batch-sizes 2"},
      "batch_size",
      "batch_size",
      1,
      "bs1"};
  info.options = fpf::batch_options;
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    const auto& sizes = runner.options().batch_sizes;
    if (std::ranges::min(sizes) < 2) fpf::fail("--batch-sizes: expected at least 2, as 1 is the baseline's");
    runner.load_neighbours(static_cast<std::size_t>(std::ranges::max(sizes)) - 1);
    for (const auto size : sizes)
      runner.run({fmt::format("bs{}", size), size, static_cast<std::size_t>(size - 1)}, runner.reference());
  });
}
