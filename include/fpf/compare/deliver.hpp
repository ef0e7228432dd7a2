// Results on their way to the user: errors, the result file, the report, standard output.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <fpf/compare/options.hpp>
#include <fpf/compare/report.hpp>
#include <fpf/compare/run.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/message.hpp>
#include <fpf/core/program.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace fpf::compare {

namespace detail {

/// File names and messages may hold bytes that are no UTF-8: JSON gets a replacement for them.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace detail

/// Writes the result file and the report, each whole or not at all, and shows the text or the JSON. Returns
/// user_error where something could not be analysed. Throws Error when something cannot be written, and
/// Interrupted.
inline ExitCode deliver(const Settings& settings, const Result& result) {
  for (const auto& failure : result.failures) tell("compare: error: {}", failure.message);
  if (result.json.is_null()) return ExitCode::user_error;
  check_interrupt();
  const std::string json = detail::json_text(result.json);
  std::optional<AtomicFile> output;
  if (!settings.json || settings.output) output.emplace(settings.output_file()).append(json);
  if (settings.report && result.findings) write_report(*settings.report, *result.findings, result.failures);
  if (settings.report && !result.findings) write_report(*settings.report, result.analyses, result.failures);
  if (output) output->commit();
  write_stdout(settings.json ? json : result.text);
  if (!settings.json) tell("compare: results in {}", settings.output_file());
  if (settings.report) tell("compare: report in {}", (std::filesystem::path(*settings.report) / "index.html").string());
  return result.failures.empty() ? ExitCode::ok : ExitCode::user_error;
}

}  // namespace fpf::compare
