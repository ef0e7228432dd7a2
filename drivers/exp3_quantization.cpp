// Experiment 3: the same model in other 4-bit formats.
#include "driver.hpp"

namespace {

void run(fpf::Runner& runner, const std::string& tag, const std::string& option, const std::string& path,
         fpf::quant::Method method) {
  const auto model = runner.open(option, path, method);
  runner.run({.tag = tag, .value = tag, .model = model}, runner.reference());
}

}  // namespace

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{
      {"exp3_quantization", "runs GPTQ and NF4 checkpoints of the model whose AWQ checkpoint is the baseline",
       "exp3_quantization --model Qwen3-30B-A3B-AWQ --model-gptq Qwen3-30B-A3B-GPTQ-Int4 --model-bnb "
       "Qwen3-30B-A3B-bnb-4bit --prompt-pdf build/documents/bashref.pdf"},
      "quantization",
      "quant_method",
      "awq",
      "awq",
      true};
  info.options = fpf::quantisation_options;
  info.baseline_params = {{"quantization", "awq-int4"}};
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    const auto& options = runner.options();
    runner.open("model", options.model, fpf::quant::Method::awq);
    runner.open("model-bnb", options.model_bnb,
                fpf::quant::Method::bitsandbytes);  // refused before GPTQ has run
    run(runner, "gptq", "model-gptq", options.model_gptq, fpf::quant::Method::gptq);
    run(runner, "bnb", "model-bnb", options.model_bnb, fpf::quant::Method::bitsandbytes);
  });
}
