// One experiment out of the files that several machines wrote.
#pragma once

#include <algorithm>
#include <fpf/compare/conditions.hpp>
#include <fpf/compare/joined_experiment.hpp>
#include <fpf/compare/prompts.hpp>
#include <fpf/core/text.hpp>
#include <fpf/evidence/prompts.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare {

namespace detail {

inline std::string metadata_text(const evidence::ExperimentFile& file, const char* name) {
  const auto& metadata = file.metadata;
  if (!metadata.contains(name)) fail("{}: expected experiment_metadata.{}, found none", file.name(), name);
  if (metadata[name].is_null()) return "none";
  if (!metadata[name].is_string())
    fail("{}: expected a string as experiment_metadata.{}, found {:.40}", file.name(), name, metadata[name].dump());
  return metadata[name].get<std::string>();
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

inline bool identifies_weights(const evidence::ExperimentFile& file) {
  return std::ranges::all_of(file.configurations, [](const nlohmann::json& configuration) {
    return evidence::identifies_weights(evidence::model_of(configuration));
  });
}

inline void check_agreement(const evidence::ExperimentFile& a, const evidence::ExperimentFile& b) {
  const bool models_vary = a.metadata.value("experiment_type", nlohmann::json()) == "quantization" ||
                           (identifies_weights(a) && identifies_weights(b));  // then names do not count
  for (const char* name : {"experiment_type", "variable_tested", "model", "extraction_config", "decode_steps"}) {
    if (models_vary && std::string_view(name) == "model") continue;
    agree(a, b, name, a.metadata.value(name, nlohmann::json()), b.metadata.value(name, nlohmann::json()));
  }
  // A reference's own tokens are those that other runs are fed.
  const nlohmann::json own = "own", x = a.metadata.value("tokens", own), y = b.metadata.value("tokens", own);
  if (a.metadata.value("experiment_type", nlohmann::json()) != "reference" && (x == own) != (y == own))
    fail_join(a, b, "tokens", x, y);
}

/// Refuses two files' forced runs of one prompt that were fed different tokens.
inline void require_same_tokens(const JoinedExperiment& experiment) {
  struct First {
    const Member* member;
    std::string sha256;
  };
  std::map<std::size_t, First> first;  // of each prompt's forced runs
  for (const Member& member : experiment.members)
    for (std::size_t i = 0; i < member.runs.size(); ++i) {
      const auto& stated = member_or_null(member_or_null(member.runs[i]->members, "tokens"), "sha256");
      if (!stated.is_string()) continue;
      const std::size_t prompt = member.prompts[i];
      const std::string sha256 = stated.get<std::string>();
      const First& other = first.try_emplace(prompt, First{&member, sha256}).first->second;
      if (other.sha256 == sha256 || other.member->file == member.file) continue;
      const auto name = [&](const Member& one) {
        return fmt::format("{} ({})", experiment.file_of(one).name(),
                           evidence::beside_prompt(one.id, experiment.prompts[prompt].number,
                                                   experiment.prompts.size()));
      };
      fail(
          "{} and {} were fed different tokens: tokens.sha256 is {} in the first and {} in the second; expected one "
          "file's in both (--tokens FILE)",
          name(*other.member), name(member), shortened(other.sha256), shortened(sha256));
    }
}

}  // namespace detail

/// Joins files of one experiment, in the order given. Throws Error, naming the field, when experiment_type,
/// variable_tested, model (by name where the files do not identify its weights; the quantization experiment varies it),
/// extraction_config, decode_steps or tokens (forced or each run's own) differ, where two files' forced runs of one
/// prompt were fed different tokens, and where assign_prompts() or require_comparable() do.
inline JoinedExperiment join(std::vector<evidence::ExperimentFile> files) {
  JoinedExperiment out;
  out.files = std::move(files);
  for (const auto& file : out.files) {
    for (const char* name : {"experiment_type", "variable_tested"}) detail::metadata_text(file, name);
    detail::check_agreement(out.files.front(), file);
  }
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
      member.id = visible_name(id);
      const auto taken = [&](const Member& other) { return other.id == member.id; };
      for (int number = 2; std::ranges::any_of(out.members, taken); ++number)
        member.id = fmt::format("{}#{}", visible_name(id), number);
      for (const auto& run : file.runs)
        if (run.config_id == id) member.runs.push_back(&run);
      member.conditions = evidence::conditions_of(configuration, member.first_run());
      out.members.push_back(std::move(member));
    }
  }
  assign_prompts(out);
  detail::require_same_tokens(out);
  require_comparable(out);
  return out;
}

}  // namespace fpf::compare
