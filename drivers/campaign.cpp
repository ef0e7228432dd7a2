// The plan's pod sequence as one command that survives interruption and ends with the comparison.
#include <fpf/campaign/run.hpp>
#include <fpf/core/interrupt.hpp>

int main(int argc, char** argv) {
  return fpf::run_program("campaign", [&]() -> fpf::ExitCode {
    const fpf::ProgramInfo info{"campaign",
                                "runs the plan's experiments for one pod: checks first, goes on where it stopped, ends "
                                "with compare --all --report",
                                "campaign --pod 1 --config campaign.ini --out results --dry-run"};
    fpf::campaign::Settings settings;
    fpf::po::variables_map values;
    if (!fpf::parse_options(argc, argv, info, describe(settings), values)) return fpf::ExitCode::ok;
    validate(settings, values);
    fpf::catch_interrupts();
    fpf::campaign::Campaign campaign(settings, fpf::campaign::steps_of(settings, values));
    return settings.dry_run ? campaign.describe() : campaign.run();
  });
}
