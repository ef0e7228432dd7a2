// Which prompts a file's runs answer: one, or several by their `prompt_index`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace fpf::evidence {

/// A run's place among the prompts of its experiment: 0 where there is one. Throws Error for anything but a whole
/// number.
inline std::size_t prompt_index(const StoredRun& run) {
  if (!run.members.contains("prompt_index")) return 0;
  const nlohmann::json& index = run.members.at("prompt_index");
  constexpr auto most = std::numeric_limits<std::uint32_t>::max();
  if (!index.is_number_integer() || index < 0 || index > most)
    fail("expected a whole number from 0 to {} as prompt_index, found {:.40}", most, index.dump());
  return index.get<std::size_t>();
}

/// "prompt 3", as text names a prompt by its prompt_index.
inline std::string prompt_name(std::int64_t index) { return fmt::format("prompt {}", index); }

/// Who, and which prompt of theirs where there are several: "A100_tp2, prompt 3".
inline std::string beside_prompt(const std::string& who, std::int64_t index, std::size_t prompts) {
  return prompts == 1 ? who : fmt::format("{}, {}", who, prompt_name(index));
}

/// Whether a run is of a configuration that its file calls the baseline.
inline bool is_of_baseline(const ExperimentFile& file, const StoredRun& run) {
  return std::ranges::any_of(file.configurations, [&](const nlohmann::json& one) {
    return member_or_null(one, "baseline") == true && member_or_null(one, "config_id") == run.config_id;
  });
}

/// The lowest repetition that was given a prompt, of the runs that `counts(run)` says so of; null where there is none.
template <class Counts>
const StoredRun* first_run(const ExperimentFile& file, const std::string& prompt_sha256, Counts counts) {
  const StoredRun* found = nullptr;
  for (const StoredRun& run : file.runs)
    if (run.members.value("prompt_sha256", "") == prompt_sha256 && counts(run) &&
        (found == nullptr || run.rep_id < found->rep_id))
      found = &run;
  return found;
}

/// The tokens that a run was fed, a step each; -1 where a step does not say it.
inline std::vector<std::int32_t> tokens_fed(const StoredRun& run) {
  std::vector<std::int32_t> out;
  for (const StoredStep& step : run.steps) out.push_back(step.token_id.value_or(-1));
  return out;
}

/// What a file says of its prompts, its `experiment_metadata.prompts`: one where it says nothing.
struct StatedPrompts {
  std::size_t count = 1;
  std::optional<std::uint64_t> seed{};   // where they are parts of documents
  std::vector<std::string> documents{};  // SHA-256 of their texts, where there are several
};

/// Throws Error for a count or a seed that is no whole number, and documents that are none.
inline StatedPrompts stated_prompts(const ExperimentFile& file) {
  const auto& stated = member_or_null(file.metadata, "prompts");
  if (stated.is_null()) return {};
  const JsonObject members(stated, "experiment_metadata.prompts");
  StatedPrompts out{members.get<std::uint32_t>("count")};
  if (members.has("seed")) out.seed = members.get<std::uint64_t>("seed");
  const auto& documents = member_or_null(stated, "documents");
  if (!documents.is_null() && !documents.is_array())
    fail("expected experiment_metadata.prompts.documents to be an array, found {:.60}", documents.dump());
  for (const auto& one : documents)
    out.documents.push_back(JsonObject(one, "experiment_metadata.prompts.documents").get<std::string>("sha256"));
  return out;
}

/// The prompts of a file by their prompt_index, as prompt_sha256; empty for one that no run answers.
inline std::vector<std::string> prompts_of(const ExperimentFile& file) {
  std::vector<std::string> out;
  for (const StoredRun& run : file.runs) {
    const std::size_t index = prompt_index(run);
    if (index >= file.runs.size())
      fail("{}: a run has prompt_index {}, and there are {} runs", file.name(), index, file.runs.size());
    out.resize(std::max(out.size(), index + 1));
    out[index] = run.members.value("prompt_sha256", "");
  }
  return out;
}

/// Where the prompts of a file's runs are not these (their prompt_sha256, in the order of prompt_index), each with a
/// run of every configuration that has any, as an end of "was made from ..."; empty where they are.
inline std::string prompts_difference(const ExperimentFile& file, const std::vector<std::string>& prompts) {
  for (const StoredRun& run : file.runs) {
    const std::size_t index = prompt_index(run);
    const std::string found = run.members.value("prompt_sha256", "");
    if (index >= prompts.size())
      return fmt::format("more prompts: a run of it answers prompt_index {}, this run has {} prompt{}", index,
                         prompts.size(), prompts.size() == 1 ? "" : "s");
    if (found != prompts[index])
      return fmt::format("another prompt{}: its prompt_sha256 is {}, this run's is {}",
                         prompts.size() == 1 ? "" : fmt::format(" {}", index), found, prompts[index]);
  }
  for (const StoredRun& other : file.runs)
    for (std::size_t i = 0; i < prompts.size(); ++i)
      if (std::ranges::none_of(file.runs, [&](const StoredRun& run) {
            return run.config_id == other.config_id && prompt_index(run) == i;
          }))
        return fmt::format("other prompts: {} has no run of prompt {} of this run's {}", other.config_id, i,
                           prompts.size());
  return "";
}

}  // namespace fpf::evidence
