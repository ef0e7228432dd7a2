// One experiment, from one file or several: its configurations with their runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fpf/evidence/schema_fields.hpp>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace fpf::compare {

/// A configuration of a joined experiment with its stored runs.
struct Member {
  std::string id;  // config_id as visible_name() shows it, with "#2", "#3", ... from the second file that has it on
  std::string hardware;
  nlohmann::json value;   // variable_value
  bool baseline = false;  // marked so in the file
  std::size_t file = 0;   // index into JoinedExperiment::files
  const nlohmann::json* configuration = nullptr;
  std::vector<const evidence::StoredRun*> runs;   // in the file's order
  std::vector<std::size_t> prompts;               // of each run, its place in JoinedExperiment::prompts
  std::map<std::string, std::string> conditions;  // evidence::conditions_of() it

  /// Repetition 0 if stored, else the lowest; null without runs.
  const evidence::StoredRun* first_run() const {
    const auto lowest = std::ranges::min_element(runs, {}, [](const auto* run) { return run->rep_id; });
    return lowest == runs.end() ? nullptr : *lowest;
  }

  /// The runs of one prompt, in the file's order.
  std::vector<const evidence::StoredRun*> runs_of(std::size_t prompt) const {
    std::vector<const evidence::StoredRun*> out;
    for (std::size_t i = 0; i < runs.size(); ++i)
      if (prompts[i] == prompt) out.push_back(runs[i]);
    return out;
  }
};

/// A prompt of an experiment.
struct PromptId {
  std::int64_t number = 0;  // its prompt_index, else its place
  std::string sha256;       // over the token ids; empty where no run states it
  friend bool operator==(const PromptId&, const PromptId&) = default;
};

struct JoinedExperiment {
  std::vector<evidence::ExperimentFile> files;
  std::vector<Member> members;
  std::vector<PromptId> prompts{{}};  // ascending by number

  const nlohmann::json& metadata() const { return files.front().metadata; }
  const evidence::ExperimentFile& file_of(const Member& member) const { return files[member.file]; }

  /// Layers at which any file stores a signal, ascending.
  std::vector<int> layers(evidence::StoredSignal signal) const {
    std::vector<int> found;
    for (const auto& file : files) std::ranges::copy(file.layers(signal), std::back_inserter(found));
    std::ranges::sort(found);
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  std::vector<std::string> hardware() const {
    std::vector<std::string> found;
    for (const auto& member : members) found.push_back(member.hardware);
    std::ranges::sort(found);
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }
};

/// The fields of its files that nothing in them supports, ascending.
inline std::vector<std::string> not_checked(const JoinedExperiment& experiment) {
  std::set<std::string> out;
  for (const auto& file : experiment.files) out.merge(evidence::fields_not_checked(file));
  return {out.begin(), out.end()};
}

/// The JSON text of a variable's value; strings stand without quotes.
inline std::string value_text(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// Equality and order as the plan's Python has them: booleans are the numbers 0 and 1, strings compare by
/// code point. What Python does not order (null, numbers, strings) stands in that order.
inline int compare_values(const nlohmann::json& a, const nlohmann::json& b) {
  const auto kind = [](const nlohmann::json& v) { return v.is_null() ? 0 : v.is_string() ? 2 : 1; };
  const auto sign = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (kind(a) != kind(b)) return sign(kind(a), kind(b));
  if (a.is_string()) return sign(a.get_ref<const std::string&>(), b.get_ref<const std::string&>());
  if (a.is_null()) return 0;
  const auto number = [](const nlohmann::json& v) {
    return v.is_boolean() ? (v.get<bool>() ? 1.0 : 0.0) : v.get<double>();
  };
  return sign(number(a), number(b));
}
inline bool equal_values(const nlohmann::json& a, const nlohmann::json& b) { return compare_values(a, b) == 0; }

}  // namespace fpf::compare
