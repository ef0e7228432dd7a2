// Whether a load went with the run that it was to go with (experiment 5), as the run's record says.
#pragma once

#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace fpf::evidence {

/// What there is to say of a run that its load did not go with for long enough, from its members; nothing of all
/// others.
inline std::optional<std::string> unaccompanied(const nlohmann::json& run) {
  const auto& load = member_or_null(run, "contention");
  if (member_or_null(load, "accompanied") != false) return {};
  const auto& share = member_or_null(load, "overlap_fraction");
  return fmt::format("the load went with {:.0f} % of the run in the best of {} attempts",
                     share.is_number() ? 100 * share.get<double>() : 0.0, member_or_null(load, "attempts").dump());
}

}  // namespace fpf::evidence
