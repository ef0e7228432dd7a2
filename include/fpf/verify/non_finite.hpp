// Runs that say that they ended in a value that is no number: what such a file must hold, and whether it happens here.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <fpf/core/json.hpp>
#include <fpf/evidence/digests.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace fpf::verify {

/// A run's place of no number, against its re-execution without forced tokens over all steps that were asked for.
struct NonFinite {
  evidence::Place claimed{};
  std::optional<evidence::Place> here{};              // where the re-execution has it; none: nowhere
  std::optional<evidence::Place> first_difference{};  // of the rows before it, which the file holds
  bool same_digests = false;                          // of all signals, those after that place too
  std::int64_t steps = 0;                             // asked for

  bool same_place() const {
    return here && here->absolute_position == claimed.absolute_position && here->layer == claimed.layer &&
           here->signal == claimed.signal;
  }
  bool reproduced() const { return same_place() && same_digests && !first_difference; }
};

/// What of it is not so here, as a clause.
inline std::string describe(const NonFinite& found) {
  if (found.first_difference)
    return fmt::format("this evidence differs first at {}", to_string(*found.first_difference));
  const std::string claim =
      fmt::format("it says that the first value that is no number is at {}", to_string(found.claimed));
  if (!found.here) return claim + ", here all values are numbers";
  if (!found.same_place()) return fmt::format("{}, here it is at {}", claim, to_string(*found.here));
  return found.same_digests ? claim + ", as it is here" : claim + ", as it is here, but its digests are others";
}

/// The place that a run's `non_finite` names. Throws nlohmann::json::exception where it names none.
inline evidence::Place non_finite_place(const nlohmann::json& run) {
  const nlohmann::json& place = run.at("non_finite");
  return {json_as<std::int64_t>(place.at("step")), json_as<std::int64_t>(place.at("absolute_position")),
          place.contains("layer") ? json_as<std::int64_t>(place.at("layer")) : -1,
          place.at("signal").get<std::string>()};
}

/// Why a file of `steps` asked for and `stored` ones cannot have ended at a place behind a prompt of so many tokens;
/// empty when it can. A place in the prompt's last positions counts as step 0.
inline std::string place_contradiction(const evidence::Place& place, std::int64_t prompt, std::int64_t steps,
                                       std::int64_t stored) {
  const std::int64_t decoded = place.absolute_position - prompt;
  if (place.step != stored)
    return fmt::format("non_finite is at step {}, so that it has {} steps: found {}", place.step, place.step, stored);
  if (place.step < 0 || place.step >= steps)
    return fmt::format("non_finite is at step {}, experiment_metadata says {} steps", place.step, steps);
  if (decoded != place.step && !(place.step == 0 && decoded < 0 && decoded >= 1 - evidence::look_back))
    return fmt::format("non_finite is at step {} and absolute_position {}, behind a prompt of {} tokens", place.step,
                       place.absolute_position, prompt);
  const evidence::SignalInfo* signal = evidence::find_signal(place.signal);
  if (signal == nullptr || signal->per_layer != (place.layer >= 0))
    return fmt::format("non_finite names signal '{}' and layer {}", place.signal, place.layer);
  return "";
}

}  // namespace fpf::verify
