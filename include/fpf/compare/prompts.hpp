// Which prompt each run was given: runs are held against runs of the same prompt alone.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fpf/compare/conditions.hpp>
#include <fpf/compare/joined_experiment.hpp>
#include <fpf/core/error.hpp>
#include <fpf/evidence/prompts.hpp>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fpf::compare {

namespace detail {

/// What a run says of its prompt: the digest, or a number alone, or nothing.
struct StatedPrompt {
  std::string sha256;
  std::optional<std::int64_t> index;
};

inline StatedPrompt stated_prompt(const evidence::ExperimentFile& file, const evidence::StoredRun& run) {
  StatedPrompt out;
  if (const auto sha = run.members.find("prompt_sha256"); sha != run.members.end() && sha->is_string())
    out.sha256 = sha->get<std::string>();
  if (!member_or_null(run.members, "prompt_index").is_null())
    out.index = naming(fmt::format("{} ({})", file.name(), run.config_id),
                       [&] { return static_cast<std::int64_t>(evidence::prompt_index(run)); });
  return out;
}

/// The prompts that the runs of an experiment name, and which of them each run was given.
class PromptList {
 public:
  explicit PromptList(const JoinedExperiment& experiment) : experiment_(experiment) {
    for_each_run([this](const StatedPrompt& stated, const auto&, const auto&) {
      if (stated.sha256.empty()) return;
      add({stated.index.value_or(-1), stated.sha256});
      if (stated.index) digests_[*stated.index].insert(stated.sha256);
    });
    for_each_run([this](const StatedPrompt& stated, const auto&, const auto&) {
      if (stated.sha256.empty() && stated.index && !digests_.contains(*stated.index)) add({*stated.index, ""});
    });
    if (all_.empty()) all_.push_back({0, ""});
    number();
  }

  const std::vector<PromptId>& all() const { return all_; }

  /// The place in all() of the run's prompt. Throws Error where what the run says fits several.
  std::size_t of(const evidence::ExperimentFile& file, const evidence::StoredRun& run) const {
    const StatedPrompt stated = stated_prompt(file, run);
    if (!stated.sha256.empty()) return place_of(stated.sha256);
    if (stated.index) {
      const auto digests = digests_.find(*stated.index);
      if (digests == digests_.end()) return by_index(*stated.index);
      if (digests->second.size() == 1) return place_of(*digests->second.begin());
      fail("{} ({}) has no prompt_sha256, and other runs have {} as that of prompt_index {}", file.name(),
           run.config_id, fmt::join(digests->second, " and "), *stated.index);
    }
    if (all_.size() == 1) return 0;
    fail("{} ({}): expected prompt_sha256 or prompt_index to say which of {} prompts it was given, found neither",
         file.name(), run.config_id, all_.size());
  }

 private:
  template <class Visit>
  void for_each_run(Visit visit) const {
    for (const auto& file : experiment_.files)
      for (const auto& run : file.runs) visit(stated_prompt(file, run), file, run);
  }

  void add(PromptId found) {
    if (const auto known = std::ranges::find(all_, found.sha256, &PromptId::sha256);
        !found.sha256.empty() && known != all_.end()) {
      if (known->number < 0) known->number = found.number;
    } else if (!found.sha256.empty() || std::ranges::find(all_, found) == all_.end()) {
      all_.push_back(std::move(found));
    }
  }

  /// By prompt_index where every prompt has one of its own, else as they appear.
  void number() {
    std::set<std::int64_t> numbers;
    for (const PromptId& one : all_) numbers.insert(one.number);
    if (numbers.size() == all_.size() && *numbers.begin() >= 0) {
      std::ranges::sort(all_, {}, &PromptId::number);
      for (const PromptId& one : all_) indices_.emplace(one.number, indices_.size());
      return;
    }
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (all_[i].sha256.empty()) indices_.emplace(all_[i].number, i);
      all_[i].number = static_cast<std::int64_t>(i);
    }
  }

  std::size_t place_of(const std::string& sha256) const {
    return static_cast<std::size_t>(std::ranges::find(all_, sha256, &PromptId::sha256) - all_.begin());
  }
  std::size_t by_index(std::int64_t index) const { return indices_.at(index); }

  const JoinedExperiment& experiment_;
  std::vector<PromptId> all_;
  std::map<std::int64_t, std::set<std::string>> digests_;  // by prompt_index, as runs that state both have them
  std::map<std::int64_t, std::size_t> indices_;            // of all_, by prompt_index
};

inline std::string identified(const PromptId& prompt) {
  return prompt.sha256.empty() ? fmt::format("prompt_index {}", prompt.number)
                               : "prompt_sha256 " + shortened(prompt.sha256);
}

/// Refuses two configurations of which one ran with a prompt that the other did not.
inline void require_same_prompts(const JoinedExperiment& experiment, const Member& a, const Member& b) {
  const std::set<std::size_t> x(a.prompts.begin(), a.prompts.end()), y(b.prompts.begin(), b.prompts.end());
  if (x == y) return;
  const std::string left = fmt::format("{} ({})", experiment.file_of(a).name(), a.id),
                    right = fmt::format("{} ({})", experiment.file_of(b).name(), b.id);
  const PromptId &first = experiment.prompts[*x.begin()], &second = experiment.prompts[*y.begin()];
  if (x.size() == 1 && y.size() == 1 && !first.sha256.empty() && !second.sha256.empty())
    fail("{} and {} were not given one prompt: prompt_sha256 is {} in the first and {} in the second", left, right,
         shortened(first.sha256), shortened(second.sha256));
  std::vector<std::size_t> apart;
  std::ranges::set_symmetric_difference(x, y, std::back_inserter(apart));
  const bool in_first = x.contains(apart.front());
  fail("{} and {} were not given the same prompts: the first has {}, the second {}; {} is the {}'s alone", left, right,
       x.size(), y.size(), identified(experiment.prompts[apart.front()]), in_first ? "first" : "second");
}

}  // namespace detail

/// Finds the prompts of all runs: by prompt_sha256, by prompt_index where that is missing, else one prompt. Throws
/// Error, naming both, where two configurations with runs were not given the same prompts.
inline void assign_prompts(JoinedExperiment& experiment) {
  const detail::PromptList list(experiment);
  experiment.prompts = list.all();
  const Member* first = nullptr;
  for (Member& member : experiment.members) {
    std::set<std::pair<std::size_t, int>> repetitions;
    for (const auto* run : member.runs) {
      member.prompts.push_back(list.of(experiment.file_of(member), *run));
      if (!repetitions.emplace(member.prompts.back(), run->rep_id).second)
        fail("{} ({}): repetition {} stands twice with {}", experiment.file_of(member).name(), member.id, run->rep_id,
             detail::identified(experiment.prompts[member.prompts.back()]));
    }
    if (member.runs.empty()) continue;
    if (first == nullptr) first = &member;
    detail::require_same_prompts(experiment, *first, member);
  }
}

}  // namespace fpf::compare
