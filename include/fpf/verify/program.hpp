// verify as a program: fpf's own, and that of a project whose policies are in the registry.
#pragma once

#include <fpf/core/interrupt.hpp>
#include <fpf/core/program.hpp>
#include <fpf/verify/report.hpp>

namespace fpf {

/// The main of verify. Policies of one's own are re-executed when they were registered before it:
///   fpf::registry().attentions.push_back(&fpf::attention::kernel<BFloat16Cache>());
///   return fpf::verify_main(argc, argv);
inline int verify_main(int argc, char** argv) {
  return run_program("verify", [&]() -> ExitCode {
    const ProgramInfo info{"verify", verify::help_text,
                           "verify results/attention_experiment.json --model "
                           "build/models/SmolLM2-135M-Instruct.Q4_1.gguf",
                           "EVIDENCE"};
    verify::Settings settings;
    po::options_description operands;
    operands.add_options()("evidence", po::value(&settings.evidence));
    po::positional_options_description positional;
    positional.add("evidence", 1);
    po::variables_map values;
    if (!parse_options(argc, argv, info, verify::describe(settings), values, operands, positional)) return ExitCode::ok;
    verify::validate(settings, values);
    catch_interrupts();
    device::use_expandable_segments();
    return verify::deliver(settings, verify::run(settings));
  });
}

}  // namespace fpf
