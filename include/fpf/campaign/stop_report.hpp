// What a finished experiment file says of its repetitions: the plan's "immediately stop and report back to me".
#pragma once

#include <fpf/evidence/accompaniment.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <set>
#include <string>
#include <vector>

namespace fpf::campaign {

/// The runs of a file whose repetitions differ, or that hold a value that is no number, each as text: what differed
/// first, in which repetition, all digests, and the manifest.
inline std::vector<std::string> findings_of(const evidence::ExperimentFile& file) {
  using Pointer = nlohmann::json::json_pointer;
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const auto& run : file.runs) {
    const auto& members = run.members;
    const bool exact = members.value(Pointer("/reproducibility/bit_exact"), true);
    const bool complete = members.value("status", "complete") == "complete";
    if ((exact && complete) || !seen.insert(run.config_id).second) continue;
    std::string text = fmt::format("{}: {}\n", run.config_id,
                                   exact ? "a value that is no finite number" : "repetitions are not bit-identical");
    const auto place = exact ? members.value("non_finite", nlohmann::json())
                             : members.value(Pointer("/reproducibility/first_difference"), nlohmann::json());
    const auto number = [&](const char* name) { return place.contains(name) ? place.at(name).dump() : "none"; };
    text += fmt::format("  first in repetition {}: step {} (position {}), layer {}, {}\n",
                        place.contains("rep_id") ? number("rep_id") : std::to_string(run.rep_id), number("step"),
                        number("absolute_position"), number("layer"), place.value("signal", ""));
    for (const auto& one : members.value(Pointer("/reproducibility/digests"), nlohmann::json::array()))
      text += "  digests " + one.dump() + "\n";
    text += "  runtime " + members.value("runtime", nlohmann::json()).dump() + "\n";
    for (const auto& configuration : file.configurations)
      if (configuration.at("config_id") == run.config_id)
        text += "  manifest " + configuration.value("manifest", nlohmann::json()).dump() + "\n";
    out.push_back(std::move(text));
  }
  return out;
}

/// The runs that a load was to go with and did not for long enough, each as a sentence. They are as reproducible as
/// others.
inline std::vector<std::string> unaccompanied(const evidence::ExperimentFile& file) {
  std::vector<std::string> out;
  for (const auto& run : file.runs)
    if (const auto fault = evidence::unaccompanied(run.members)) out.push_back(run.config_id + ": " + *fault);
  return out;
}

}  // namespace fpf::campaign
