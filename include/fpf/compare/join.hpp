// One experiment out of the files that several machines wrote.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <fpf/evidence/experiment_file.hpp>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare {

/// A configuration of a joined experiment with its stored runs.
struct Member {
  std::string id;  // config_id, with "#2", "#3", ... from the second file that has it on
  std::string hardware;
  nlohmann::json value;   // variable_value
  bool baseline = false;  // marked so in the file
  std::size_t file = 0;   // index into Experiment::files
  const nlohmann::json* configuration = nullptr;
  std::vector<const evidence::StoredRun*> runs;  // in the file's order

  /// Repetition 0 if stored, else the lowest; null without runs.
  const evidence::StoredRun* first_run() const {
    const auto lowest = std::ranges::min_element(runs, {}, [](const auto* run) { return run->rep_id; });
    return lowest == runs.end() ? nullptr : *lowest;
  }
};

struct Experiment {
  std::vector<evidence::ExperimentFile> files;
  std::vector<Member> members;

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

namespace detail {

inline std::string metadata_text(const evidence::ExperimentFile& file, const char* name) {
  const auto& metadata = file.metadata;
  if (!metadata.contains(name)) fail("{}: expected experiment_metadata.{}, found none", file.name(), name);
  if (metadata[name].is_null()) return "none";
  if (!metadata[name].is_string())
    fail("{}: expected a string as experiment_metadata.{}, found {:.40}", file.name(), name, metadata[name].dump());
  return metadata[name].get<std::string>();
}

inline std::string shortened(const nlohmann::json& value) {
  std::string text = value.dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

[[noreturn]] inline void fail_join(const evidence::ExperimentFile& a, const evidence::ExperimentFile& b,
                                   std::string_view field, const nlohmann::json& x, const nlohmann::json& y) {
  fail("{} and {} are not of one experiment: {} is {} in the first and {} in the second", a.name(), b.name(), field,
       shortened(x), shortened(y));
}

/// Fails where two values differ, naming the deepest member that does.
inline void agree(const evidence::ExperimentFile& a, const evidence::ExperimentFile& b, const std::string& field,
                  const nlohmann::json& x, const nlohmann::json& y) {
  if (x == y) return;
  if (!x.is_object() || !y.is_object()) fail_join(a, b, field, x, y);
  nlohmann::json names = x;
  names.update(y);
  for (const auto& [name, unused] : names.items())
    agree(a, b, field + "." + name, x.value(name, nlohmann::json()), y.value(name, nlohmann::json()));
}

inline void check_agreement(const evidence::ExperimentFile& a, const evidence::ExperimentFile& b) {
  const bool models_vary = a.metadata.value("experiment_type", nlohmann::json()) == "quantization";
  for (const char* name : {"experiment_type", "variable_tested", "model", "extraction_config", "decode_steps"}) {
    if (models_vary && std::string_view(name) == "model") continue;
    agree(a, b, name, a.metadata.value(name, nlohmann::json()), b.metadata.value(name, nlohmann::json()));
  }
}

/// All runs must have been given the same prompt, as far as the files say which.
inline void check_prompts(const Experiment& experiment) {
  const evidence::ExperimentFile* first_file = nullptr;
  const evidence::StoredRun* first = nullptr;
  for (const auto& file : experiment.files) {
    for (const auto& run : file.runs) {
      if (!run.members.contains("prompt_sha256")) continue;
      if (first == nullptr) {
        first = &run;
        first_file = &file;
      } else if (run.members["prompt_sha256"] != first->members["prompt_sha256"]) {
        fail(
            "{} ({}) and {} ({}) were not given one prompt: prompt_sha256 is {} in the first and {} in the "
            "second",
            first_file->name(), first->config_id, file.name(), run.config_id,
            shortened(first->members["prompt_sha256"]), shortened(run.members["prompt_sha256"]));
      }
    }
  }
}

}  // namespace detail

/// Joins files of one experiment, in the order given. Throws Error when experiment_type, variable_tested,
/// model (but for the quantization experiment, which varies it), extraction_config, decode_steps or a
/// prompt_sha256 differ, naming the field; dates, versions and providers may.
inline Experiment join(std::vector<evidence::ExperimentFile> files) {
  Experiment out;
  out.files = std::move(files);
  for (const auto& file : out.files) {
    for (const char* name : {"experiment_type", "variable_tested"}) detail::metadata_text(file, name);
    detail::check_agreement(out.files.front(), file);
  }
  detail::check_prompts(out);
  for (std::size_t f = 0; f < out.files.size(); ++f) {
    const auto& file = out.files[f];
    for (const auto& configuration : file.configurations) {
      Member member;
      member.file = f;
      member.configuration = &configuration;
      member.hardware = configuration["hardware"].get<std::string>();
      member.value = configuration["variable_value"];
      member.baseline = configuration.contains("baseline") && configuration["baseline"] == true;
      const std::string id = configuration["config_id"].get<std::string>();
      member.id = id;
      const auto taken = [&](const Member& other) { return other.id == member.id; };
      for (int number = 2; std::ranges::any_of(out.members, taken); ++number)
        member.id = fmt::format("{}#{}", id, number);
      for (const auto& run : file.runs)
        if (run.config_id == id) member.runs.push_back(&run);
      out.members.push_back(std::move(member));
    }
  }
  return out;
}

}  // namespace fpf::compare
