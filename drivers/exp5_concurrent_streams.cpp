// Experiment 5: the reference beside a load that shares its device.
#include <fpf/stream/contended.hpp>

#include "driver.hpp"

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{
      {"exp5_concurrent_streams", "runs the reference beside a synthetic load, and proves that both overlapped",
       "exp5_concurrent_streams --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
       "build/documents/bashref.pdf --prompt-tokens 1024 --contention 0.5"},
      "concurrent_streams",
      "concurrent_work",
      false,
      "quiet"};
  info.options = fpf::contention_options;
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    const auto& options = runner.options();
    const auto load = fpf::stream::contention(fpf::stream::Contended::on(options.device, options.contention));
    runner.run({"contended", true}, runner.reference().with(load));
  });
}
