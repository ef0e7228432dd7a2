// Analyses experiment files: is a change of the set-up visible in its floating-point results, against the
// noise?
#include <fpf/compare/analyse.hpp>
#include <fpf/compare/collect.hpp>
#include <fpf/compare/published.hpp>
#include <fpf/compare/report.hpp>
#include <fpf/compare/result_json.hpp>
#include <fpf/compare/text.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/program.hpp>

namespace {

using namespace fpf;
using compare::plan::Json;

struct Settings {
  std::vector<std::string> files, published, folders;
  std::string signal, layer, output, report;
  double threshold = 1.5;
  bool all = false, after_divergence = false, json = false, plan_compatible = false;
  bool output_given = false, layer_given = false, report_given = false;
};

struct Result {
  Json json;
  std::string text;
  std::vector<compare::Failure> failures;
  std::vector<compare::Analysis> analyses;
  std::optional<compare::published::Findings> findings;
};

po::options_description describe(Settings& s) {
  po::options_description out("Comparison");
  out.add_options()                                                                       //
      ("all", po::bool_switch(&s.all), "analyse every experiment that the folders hold")  //
      ("experiment-dir", po::value(&s.folders)->value_name("DIR")->composing(),
       "where --all looks (.); repeatable, equal names are joined")  //
      ("signal", po::value(&s.signal)->value_name("NAME")->default_value("key_vectors"),
       "hidden_states, key_vectors, logprobs or all")  //
      ("layer", po::value(&s.layer)->value_name("N")->default_value("last"),
       "last, all or a layer's number")  //
      ("threshold", po::value(&s.threshold)->value_name("X")->default_value(1.5, "1.5"),
       "ratio to the noise floor from which a change counts as detectable")  //
      ("output", po::value(&s.output)->value_name("FILE")->default_value("analysis_results.json"),
       "where the results go as JSON; with --json only if given")  //
      ("report", po::value(&s.report)->value_name("DIR"),
       "also a report: a page with figures, their scripts, CSV; an earlier one there is replaced")  //
      ("after-divergence", po::bool_switch(&s.after_divergence),
       "also compare rows behind the first token that differs")                                     //
      ("json", po::bool_switch(&s.json), "JSON to standard output instead of tables")               //
      ("plan-compatible", po::bool_switch(&s.plan_compatible), "the plan's own rules and numbers")  //
      ("published", po::value(&s.published)->value_name("FILE...")->multitoken()->composing(),
       "analyse measurements in the layouts of the plan's author");
  return out;
}

std::vector<evidence::StoredSignal> signals_of(const std::string& name) {
  using evidence::StoredSignal;
  const std::vector all{StoredSignal::hidden_states, StoredSignal::key_vectors, StoredSignal::logprobs};
  if (name == "all") return all;
  for (const StoredSignal signal : all)
    if (name == evidence::name_of(signal)) return {signal};
  fail("--signal {}: expected hidden_states, key_vectors, logprobs or all", name);
}

compare::Options options_of(const Settings& s) {
  compare::Options options;
  options.signals = signals_of(s.signal);
  options.threshold = s.threshold;
  options.after_divergence = s.after_divergence;
  options.all_layers = s.layer == "all";
  if (s.layer == "last" || s.layer == "all") return options;
  int layer = 0;
  const auto [end, error] = std::from_chars(s.layer.data(), s.layer.data() + s.layer.size(), layer);
  if (error != std::errc() || end != s.layer.data() + s.layer.size() || layer < 0)
    fail("--layer {}: expected last, all or a layer's number", s.layer);
  options.layer = layer;
  return options;
}

void validate(const Settings& s) {
  if (!(s.threshold > 0) || !std::isfinite(s.threshold))
    fail("--threshold {}: expected a positive number", s.threshold);
  const int ways = (s.files.empty() ? 0 : 1) + (s.all ? 1 : 0) + (s.published.empty() ? 0 : 1);
  if (ways != 1)
    fail("expected files to compare, --all or --published, found {} of them (see compare --help)", ways);
  if (!s.folders.empty() && !s.all) fail("--experiment-dir needs --all");
  if (s.report_given) compare::report::checked_report_folder(s.report);
  if (!s.plan_compatible) return;
  if (!s.published.empty()) fail("--plan-compatible and --published exclude each other");
  if (s.signal == "all")
    fail("--plan-compatible looks at one signal: expected --signal hidden_states, key_vectors or logprobs");
  if (s.layer_given) fail("--plan-compatible chooses the layer itself: expected no --layer");
  if (s.report_given) fail("--report shows the default analysis: expected no --plan-compatible");
  if (s.after_divergence) fail("--plan-compatible counts all steps anyway: expected no --after-divergence");
}

/// Calls analyse(experiment) for each; what one throws is noted and the others go on.
template <class Analyse>
void for_each_experiment(std::vector<compare::Experiment>& experiments,
                         std::vector<compare::Failure>& failures, Analyse analyse) {
  for (compare::Experiment& experiment : experiments) {
    check_interrupt();
    try {
      analyse(experiment);
    } catch (const Error& error) {
      failures.push_back({experiment.files.front().name(), error.what()});
    }
    experiment = {};  // closes its files
  }
}

compare::Collection collect(const Settings& s) {
  if (!s.all) return compare::collect_files({s.files.begin(), s.files.end()});
  std::vector<std::filesystem::path> folders(s.folders.begin(), s.folders.end());
  if (folders.empty()) folders.emplace_back(".");
  return compare::collect_folders(folders, s.plan_compatible);
}

Result run_plan(const Settings& s, const compare::Terminal& terminal) {
  auto collection = collect(s);
  Result out;
  out.failures = std::move(collection.failures);
  std::vector<Json> reports;
  for_each_experiment(collection.experiments, out.failures, [&](const compare::Experiment& experiment) {
    reports.push_back(compare::plan::analyse(experiment, signals_of(s.signal).front(), s.threshold));
  });
  if (reports.empty()) return out;
  const Json summary = compare::plan::summary(reports);
  out.text = compare::to_text(summary, terminal);
  if (s.all || reports.size() > 1)
    out.json = {{"summary", summary}, {"detailed_reports", reports}};
  else
    out.json = reports.front();
  return out;
}

Result run_default(const Settings& s, const compare::Terminal& terminal) {
  const compare::Options options = options_of(s);
  auto collection = collect(s);
  Result out;
  out.failures = std::move(collection.failures);
  auto& analyses = out.analyses;
  for_each_experiment(collection.experiments, out.failures, [&](const compare::Experiment& experiment) {
    analyses.push_back(compare::analyse(experiment, options));
    out.text += (out.text.empty() ? "" : "\n") + compare::to_text(analyses.back(), terminal);
  });
  if (analyses.empty()) return out;
  if (analyses.size() > 1) out.text += compare::summary_text(analyses, terminal);
  out.json = {{"fpf_version", version}, {"analyses", Json::array()}, {"failures", Json::array()}};
  for (const auto& analysis : analyses) out.json["analyses"].push_back(compare::to_json(analysis));
  for (const auto& failure : out.failures)
    out.json["failures"].push_back({{"subject", failure.subject}, {"message", failure.message}});
  return out;
}

Result run_published(const Settings& s, const compare::Terminal& terminal) {
  std::vector<compare::published::File> files;
  Result out;
  for (const std::string& path : s.published) {
    check_interrupt();
    try {
      files.push_back(compare::published::open(path));
    } catch (const Error& error) {
      out.failures.push_back({path, error.what()});
    }
  }
  if (files.empty()) return out;
  out.findings = compare::published::analyse(files);
  out.text = compare::to_text(*out.findings, terminal);
  out.json = compare::to_json(*out.findings);
  return out;
}

/// File names and messages may hold bytes that are no UTF-8: JSON gets a replacement for them.
std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

ExitCode deliver(const Settings& s, const Result& result) {
  for (const auto& failure : result.failures)
    fmt::print(stderr, "compare: error: {}\n", one_line(failure.message));
  if (result.json.is_null()) return ExitCode::user_error;
  check_interrupt();
  std::optional<AtomicFile> output;
  if (!s.json || s.output_given) output.emplace(s.output).append(json_text(result.json));
  if (s.report_given && result.findings) compare::write_report(s.report, *result.findings, result.failures);
  if (s.report_given && !result.findings) compare::write_report(s.report, result.analyses, result.failures);
  if (output) output->commit();
  const std::string shown = s.json ? json_text(result.json) : result.text;
  if (std::fwrite(shown.data(), 1, shown.size(), stdout) != shown.size() || std::fflush(stdout) != 0)
    fail("cannot write to standard output");
  if (!s.json) fmt::print(stderr, "compare: results in {}\n", s.output);
  if (s.report_given)
    fmt::print(stderr, "compare: report in {}\n", (std::filesystem::path(s.report) / "index.html").string());
  return result.failures.empty() ? ExitCode::ok : ExitCode::user_error;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("compare", [&] {
    const ProgramInfo info{"compare",
                           "tells whether a change shows in an experiment's signals, against the noise",
                           "compare --all --experiment-dir results --signal all --layer all", "[FILE...]"};
    Settings settings;
    po::options_description operands;
    operands.add_options()("file", po::value(&settings.files)->composing());
    po::positional_options_description positional;
    positional.add("file", -1);
    po::variables_map values;
    if (!parse_options(argc, argv, info, describe(settings), values, operands, positional))
      return ExitCode::ok;
    settings.output_given = !values["output"].defaulted();
    settings.layer_given = !values["layer"].defaulted();
    settings.report_given = values.count("report") != 0;
    validate(settings);
    catch_interrupts();
    const auto terminal = compare::Terminal::of_stdout();
    if (!settings.published.empty()) return deliver(settings, run_published(settings, terminal));
    return deliver(settings,
                   settings.plan_compatible ? run_plan(settings, terminal) : run_default(settings, terminal));
  });
}
