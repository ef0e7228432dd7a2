// Experiment 7: every matrix divided over several ranks.
#include "driver.hpp"

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{
      {"exp7_tensor_parallel", "runs the model divided over ranks (default: a tiny synthetic MoE)",
       "exp7_tensor_parallel --prompt-ids tests/fixtures/parity/qwen3_moe_raw/prompt.json --tp 2,4"},
      "tensor_parallel",
      "tp_size",
      1,
      "tp1"};
  info.options = fpf::tensor_options;
  info.takes_ranks = true;
  info.default_model = "synthetic:qwen3-moe-tiny";
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    const auto& tensor = runner.parallelism("tensor");
    for (const auto size : runner.rank_counts(tensor, runner.options().tp))
      runner.run({.tag = fmt::format("tp{}", size), .value = size, .ranks = size}, runner.reference().with(tensor));
  });
}
