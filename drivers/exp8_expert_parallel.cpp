// Experiment 8: the experts divided over several ranks.
#include "driver.hpp"

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{
      {"exp8_expert_parallel", "runs the experts divided over ranks (default: a tiny synthetic MoE)",
       "exp8_expert_parallel --prompt-ids tests/fixtures/parity/qwen3_moe_raw/prompt.json --ep 2,4 "
       "--placement round_robin"},
      "expert_parallel",
      "ep_size",
      1,
      "ep1"};
  info.options = fpf::expert_options;
  info.takes_ranks = true;
  info.default_model = "synthetic:qwen3-moe-tiny";
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    const auto& options = runner.options();
    const auto& expert = runner.parallelism("expert");
    for (const auto size : runner.rank_counts(expert, options.ep))
      runner.run({.tag = fmt::format("ep{}", size),
                  .value = size,
                  .ranks = size,
                  .fixed = {{"expert_placement", options.placement}}},
                 runner.reference().with(expert));
  });
}
