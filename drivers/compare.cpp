// Analyses experiment files: is a change of the set-up visible in its floating-point results, against the
// noise?
#include <fpf/compare/deliver.hpp>
#include <fpf/compare/options.hpp>
#include <fpf/compare/run.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/program.hpp>

#include "compare_report.hpp"

int main(int argc, char** argv) {
  return fpf::run_program("compare", [&] {
    namespace po = fpf::po;
    const fpf::ProgramInfo info{"compare", "tells whether a change shows in an experiment's signals, against the noise",
                                "compare --all --experiment-dir results --signal all --layer all", "[FILE...]"};
    fpf::compare::Settings settings;
    po::options_description operands;
    operands.add_options()("file", po::value(&settings.files)->composing());
    po::positional_options_description positional;
    positional.add("file", -1);
    po::variables_map values;
    if (!fpf::parse_options(argc, argv, info, describe(settings), values, operands, positional))
      return fpf::ExitCode::ok;
    validate(settings);
    refuse_overwriting(settings, values);
    fpf::catch_interrupts();
    return deliver(settings, run(settings, fpf::compare::Terminal::of_stdout()), write_report_of);
  });
}
