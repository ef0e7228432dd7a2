// What two configurations of an experiment may differ in, and what a reader is told of it.
#pragma once

#include <fpf/compare/joined_experiment.hpp>
#include <fpf/evidence/conditions.hpp>
#include <fpf/evidence/weights.hpp>
#include <string>
#include <vector>

namespace fpf::compare {

/// The conditions that matter in which two members differ beside the experiment's variable, a's value behind b's.
inline std::vector<evidence::ConditionDifference> condition_differences(const JoinedExperiment& experiment,
                                                                        const Member& a, const Member& b) {
  const bool same_value = equal_values(a.value, b.value);
  const auto relation =
      !same_value && a.hardware == b.hardware ? evidence::Relation::beside : evidence::Relation::between;
  const auto& type = member_or_null(experiment.metadata(), "experiment_type");
  const std::string varied = same_value || !type.is_string() ? "" : type.get<std::string>();
  return evidence::condition_differences(a.conditions, b.conditions, relation, varied);
}

namespace detail {

inline std::string shortened(const nlohmann::json& value) {
  std::string text = value.dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

/// Configurations of one value are of the same weights; of different values, too, but where the value is the
/// checkpoint's format: there the model is the same. What a file does not identify passes.
inline void require_weights(const JoinedExperiment& experiment, const Member& a, const Member& b) {
  const auto &x = evidence::model_of(*a.configuration), &y = evidence::model_of(*b.configuration);
  const bool formats =
      member_or_null(experiment.metadata(), "experiment_type") == "quantization" && !equal_values(a.value, b.value);
  const bool known = evidence::identifies_weights(x) && evidence::identifies_weights(y);
  const auto found = formats ? evidence::base_difference(x, y)
                     : known ? evidence::weights_difference(x, y)
                             : evidence::ModelDifference{};
  if (found)
    fail("{} in {} and {} in {} are of different models: model/{} is {} in the first and {} in the second", a.id,
         experiment.file_of(a).name(), b.id, experiment.file_of(b).name(), found.field, found.a, found.b);
}

/// Of one value, whichever machine ran it.
inline void require_conditions(const JoinedExperiment& experiment, const Member& a, const Member& b) {
  if (a.file == b.file || !equal_values(a.value, b.value)) return;
  for (const auto& one : condition_differences(experiment, a, b))
    if (one.treatment == evidence::Treatment::refused)
      fail("{} in {} and {} in {} are not the same set-up on two machines: {} is {} in the first and {} in the second",
           a.id, experiment.file_of(a).name(), b.id, experiment.file_of(b).name(), one.field, shortened(one.a),
           shortened(one.b));
}

}  // namespace detail

/// Throws Error, naming both files and the field, where two members cannot be held against each other.
inline void require_comparable(const JoinedExperiment& experiment) {
  const auto& members = experiment.members;
  for (std::size_t a = 0; a < members.size(); ++a)
    for (std::size_t b = a + 1; b < members.size(); ++b) {
      detail::require_weights(experiment, members[a], members[b]);
      detail::require_conditions(experiment, members[a], members[b]);
    }
}

/// Whether every configuration with runs says which weights it ran; where formats are compared, also of which model
/// they are a format.
inline bool weights_identified(const JoinedExperiment& experiment) {
  const bool formats = member_or_null(experiment.metadata(), "experiment_type") == "quantization";
  return std::ranges::all_of(experiment.members, [&](const Member& member) {
    const auto& model = evidence::model_of(*member.configuration);
    return member.runs.empty() || (evidence::identifies_weights(model) &&
                                   (!formats || member_or_null(model, "base_config_sha256").is_string()));
  });
}

/// Whether every configuration with runs says what else it ran under.
inline bool conditions_recorded(const JoinedExperiment& experiment) {
  return std::ranges::all_of(experiment.members, [](const Member& member) {
    return member.runs.empty() || evidence::has_manifest(member.conditions);
  });
}

}  // namespace fpf::compare
