// Results on their way to the user: errors, the result file, the report, standard output.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fpf/compare/options.hpp>
#include <fpf/compare/run.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/message.hpp>
#include <fpf/core/program.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf::compare {

namespace detail {

/// File names and messages may hold bytes that are no UTF-8: JSON gets a replacement for them.
inline std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace detail

/// What failures come to: a file that contradicts itself is a finding, one that cannot be used the user's error.
inline ExitCode exit_code(const std::vector<Failure>& failures) {
  if (std::ranges::any_of(failures, &Failure::finding)) return ExitCode::finding;
  return failures.empty() ? ExitCode::ok : ExitCode::user_error;
}

/// Writes the result file and, by write_report(settings, result), the report, each whole or not at all, and shows the
/// text or the JSON. Returns exit_code(). Throws Error when something cannot be written, and Interrupted.
template <class WriteReport>
ExitCode deliver(const Settings& settings, const Result& result, WriteReport write_report) {
  for (const auto& failure : result.failures)
    tell("compare: {}: {}", failure.finding ? "FINDING" : "error", failure.message);
  if (result.json.is_null()) return exit_code(result.failures);
  check_interrupt();
  const std::string json = detail::json_text(result.json);
  std::optional<AtomicFile> output;
  if (!settings.json || settings.output) output.emplace(settings.output_file()).append(json);
  if (settings.report) write_report(settings, result);
  if (output) output->commit();
  write_stdout(settings.json ? json : result.text);
  if (!settings.json) tell("compare: results in {}", settings.output_file());
  if (settings.report) tell("compare: report in {}", (std::filesystem::path(*settings.report) / "index.html").string());
  return exit_code(result.failures);
}

}  // namespace fpf::compare
