// Which fields of evidence nothing supported, neither itself nor what was done with it here.
#pragma once

#include <algorithm>
#include <fpf/evidence/schema_fields.hpp>
#include <fpf/verify/claim.hpp>
#include <fpf/verify/verdict.hpp>
#include <set>
#include <string>
#include <vector>

namespace fpf::verify {

namespace detail {

/// Rows of schema_fields that a model's tokeniser holds, and re-execution by itself does not.
inline constexpr std::string_view text_fields[] = {"runs/*/prompt_text", "runs/*/neighbours/*/prompt_text",
                                                   "runs/*/decode_steps/*/token_text"};

/// Whether something held a field of a run: the question or the tokeniser (RunReport::held), or its re-execution.
inline bool holds(const RunReport& report, const std::string& field) {
  if (report.held.contains(field)) return true;
  const auto* row = evidence::field_of(field);
  return report.reexecuted() && row != nullptr && row->support == evidence::Support::re_executed &&
         std::ranges::find(text_fields, field) == std::end(text_fields);
}

}  // namespace detail

/// The fields of a file that are taken on trust: those of evidence::fields_not_checked() that were not held in every
/// run that was asked for, `reports[i]` being of `claims[i]`. Without re-execution the fields that it alone supports
/// are among them.
inline std::set<std::string> fields_not_checked(const evidence::ExperimentFile& file, const std::vector<Claim>& claims,
                                                const std::vector<RunReport>& reports) {
  std::set<std::string> out = evidence::fields_not_checked(file);
  for (const Claim& claim : claims)
    if (std::ranges::any_of(claim.texts.token_texts, [](const std::string& text) { return !text.empty(); }))
      out.emplace("runs/*/decode_steps/*/token_text");
  if (std::ranges::all_of(claims, [](const Claim& claim) { return claim.texts.prompt_text.empty(); }))
    out.erase("runs/*/prompt_text");
  std::erase_if(out, [&](const std::string& field) {
    return std::ranges::all_of(reports, [&](const RunReport& report) { return detail::holds(report, field); });
  });
  return out;
}

}  // namespace fpf::verify
