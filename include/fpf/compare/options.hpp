// What a user asks of a comparison: the options of `compare`, from strings to checked values.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <fpf/compare/analyse.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/report/folder.hpp>
#include <fpf/core/overwriting.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/program.hpp>
#include <fpf/core/text.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <fpf/evidence/looks_like.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare {

/// What the user asked for. Of `files`, `all` and `published` one is given.
struct Settings {
  std::vector<std::string> files;      // experiment files
  std::vector<std::string> published;  // measurements in the layouts of the plan's author
  bool all = false;                    // every experiment that the folders hold
  std::vector<std::string> folders;    // where `all` looks; none: the working folder
  std::string signal;                  // a signal's name, or "all"
  std::optional<std::string> layer;    // "last" (also where there is none), "all", or a layer's number
  double threshold = 1.5;              // ratio to the noise floor
  bool after_divergence = false;
  bool plan_compatible = false;
  bool json = false;                  // JSON to standard output instead of tables
  std::optional<std::string> output;  // the result file
  std::optional<std::string> report;  // the report's folder

  std::string output_file() const { return output.value_or(default_output); }
  std::string layers() const { return layer.value_or(default_layer); }

  static constexpr const char* default_output = "analysis_results.json";
  static constexpr const char* default_layer = "last";
};

namespace detail {

/// An option that is there or not, where that matters; `standard` is what --help shows as its default.
inline auto* given_text(std::optional<std::string>& to, std::string name, const char* standard = nullptr) {
  if (standard != nullptr) name += fmt::format(" (={})", standard);
  return po::value<std::string>()->value_name(name)->notifier([&to](const std::string& text) { to = text; });
}

inline std::string signal_names(std::string_view last) {
  std::vector<std::string_view> names;
  for (const evidence::StoredSignal signal : compared_signals()) names.push_back(evidence::name_of(signal));
  return listed(names, last);
}

inline const std::string plan_help = fmt::format("the plan's own rules and numbers. {}", plan::sentence);

}  // namespace detail

/// The options, into `out` when notified; the operands, `files`, are no option.
inline po::options_description describe(Settings& out) {
  po::options_description described("Comparison");
  described.add_options()                                                                   //
      ("all", po::bool_switch(&out.all), "analyse every experiment that the folders hold")  //
      ("experiment-dir", po::value(&out.folders)->value_name("DIR")->composing(),
       "where --all looks (.); repeatable, equal names are joined")  //
      ("signal", po::value(&out.signal)->value_name("NAME")->default_value("key_vectors"),
       (detail::signal_names(", ") + " or all").c_str())  //
      ("layer", detail::given_text(out.layer, "N", Settings::default_layer),
       "last, all or a layer's number")  //
      ("threshold", po::value(&out.threshold)->value_name("X")->default_value(1.5, "1.5"),
       "ratio to the noise floor from which what no test confirms is \"cannot tell\", not \"not detectable\"")  //
      ("output", detail::given_text(out.output, "FILE", Settings::default_output),
       "where the results go as JSON; with --json only if given")  //
      ("report", detail::given_text(out.report, "DIR"),
       "also a report: a page with figures, their scripts, CSV; an earlier one there is replaced")  //
      ("after-divergence", po::bool_switch(&out.after_divergence),
       "also compare rows behind the first token that differs")                              //
      ("json", po::bool_switch(&out.json), "JSON to standard output instead of tables")      //
      ("plan-compatible", po::bool_switch(&out.plan_compatible), detail::plan_help.c_str())  //
      ("published", po::value(&out.published)->value_name("FILE...")->multitoken()->composing(),
       "analyse measurements in the layouts of the plan's author");
  return described;
}

/// Throws Error naming the option when the name is none of them.
inline std::vector<evidence::StoredSignal> signals_of(const std::string& name) {
  const auto all = compared_signals();
  if (name == "all") return all;
  for (const evidence::StoredSignal signal : all)
    if (name == evidence::name_of(signal)) return {signal};
  fail("--signal {}: expected {} or all", name, detail::signal_names(", "));
}

/// What the default analysis takes of them. Throws Error naming the option.
inline AnalysisOptions options_of(const Settings& settings) {
  AnalysisOptions out;
  out.signals = signals_of(settings.signal);
  out.threshold = settings.threshold;
  out.after_divergence = settings.after_divergence;
  const std::string text = settings.layers();
  out.all_layers = text == "all";
  if (text == "last" || text == "all") return out;
  const auto layer = parse_number<int>(text);
  if (!layer || *layer < 0) fail("--layer {}: expected last, all or a layer's number", text);
  out.layer = *layer;
  return out;
}

/// Checks what can be checked without the files. Throws Error naming the option.
inline void validate(const Settings& settings) {
  if (!(settings.threshold > 0) || !std::isfinite(settings.threshold))
    fail("--threshold {}: expected a positive number", settings.threshold);
  const int ways = (settings.files.empty() ? 0 : 1) + (settings.all ? 1 : 0) + (settings.published.empty() ? 0 : 1);
  if (ways != 1) fail("expected files to compare, --all or --published, found {} of them (see compare --help)", ways);
  if (!settings.folders.empty() && !settings.all) fail("--experiment-dir needs --all");
  if (settings.report) report::checked_report_folder(*settings.report);
  if (!settings.plan_compatible) return;
  if (!settings.published.empty()) fail("--plan-compatible and --published exclude each other");
  if (settings.signal == "all")
    fail("--plan-compatible looks at one signal: expected --signal {}", detail::signal_names(" or "));
  if (settings.layer) fail("--plan-compatible chooses the layer itself: expected no --layer");
  if (settings.report) fail("--report shows the default analysis: expected no --plan-compatible");
  if (settings.after_divergence) fail("--plan-compatible counts all steps anyway: expected no --after-divergence");
}

/// Throws Error where what is to be written is an input, or any experiment file.
inline void refuse_overwriting(const Settings& settings, const po::variables_map& values) {
  std::vector<NamedPath> inputs{config_file(values)};
  append_paths(inputs, "the operand", settings.files);
  append_paths(inputs, "--published", settings.published);
  if (settings.report) fpf::refuse_overwriting({"--report", *settings.report}, inputs);
  if (settings.json && !settings.output) return;
  fpf::refuse_overwriting({"--output", settings.output_file()}, inputs);
  evidence::refuse_overwriting_evidence("--output", settings.output_file());
}

}  // namespace fpf::compare
