// Re-executes evidence that someone else made, and says whether it can be what it claims.
#include <fpf/core/interrupt.hpp>
#include <fpf/verify/report.hpp>

#include "eager_setups.hpp"
#include "rank_setups.hpp"

int main(int argc, char** argv) {
  return fpf::run_program("verify", [&]() -> fpf::ExitCode {
    namespace po = fpf::po;
    const fpf::ProgramInfo info{"verify", fpf::verify::help_text,
                                "verify results/attention_experiment.json --model "
                                "build/models/SmolLM2-135M-Instruct.Q4_1.gguf",
                                "EVIDENCE"};
    fpf::verify::Settings settings;
    po::options_description operands;
    operands.add_options()("evidence", po::value(&settings.evidence));
    po::positional_options_description positional;
    positional.add("evidence", 1);
    po::variables_map values;
    if (!fpf::parse_options(argc, argv, info, describe(settings), values, operands, positional))
      return fpf::ExitCode::ok;
    validate(settings, values);
    fpf::catch_interrupts();
    fpf::device::use_expandable_segments();
    return deliver(settings, run(settings));
  });
}
