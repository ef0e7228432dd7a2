// The plan's validation checklist on this machine, one line a point.
#include <fpf/core/interrupt.hpp>
#include <fpf/core/json.hpp>
#include <fpf/preflight/checklist.hpp>
#include <fpf/preflight/report.hpp>
#include <fpf/preflight/schema.hpp>

extern "C" const char fpf_experiment_schema[];  // experiment.schema.json

int main(int argc, char** argv) {
  return fpf::run_program("preflight", [&]() -> fpf::ExitCode {
    const fpf::ProgramInfo info{
        "preflight",
        "the validation checklist on this machine, for the models, prompt and experiments named: "
        "one line a point; exit code 2 if one fails",
        "preflight --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf --prompt-pdf "
        "build/documents/bashref.pdf --prompt-tokens 1024"};
    fpf::campaign::Settings settings;
    bool full = false;
    fpf::po::options_description own("Checklist");
    own.add_options()("full", fpf::po::bool_switch(&full), "load and run all layers, not the first alone");
    fpf::po::options_description all("");
    all.add(own).add(plan_options(settings)).add(fpf::campaign::experiment_options(settings.options));
    all.add(
        conduct_options(settings, "Campaign's own: taken, so that both may read one --config file, and passed over"));
    fpf::po::variables_map values;
    if (!fpf::parse_options(argc, argv, info, all, values)) return fpf::ExitCode::ok;
    validate(settings, values, false);
    fpf::catch_interrupts();
    const auto schema = fpf::parse_json(fpf_experiment_schema, "the schema");
    fpf::preflight::Checklist checklist(
        settings, fpf::campaign::steps_of(settings, values), full,
        [&](const nlohmann::json& file) { return fpf::preflight::schema_errors(schema, file); },
        fpf::preflight::print_point);
    return checklist.run() ? fpf::ExitCode::ok : fpf::ExitCode::user_error;
  });
}
