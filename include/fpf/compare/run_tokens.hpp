// The tokens of two runs of one prompt: how far both were fed the same, and where they would have chosen differently.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <fpf/compare/analysis.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <limits>
#include <map>
#include <optional>
#include <string>

namespace fpf::compare::detail {

/// What a run would have fed at a step by itself: where tokens are given the file says so, else it fed it.
inline std::optional<std::int64_t> choice_of(const evidence::StoredStep& step) {
  return step.chosen_token_id ? step.chosen_token_id : step.token_id;
}

/// Choices count where one side at least was given its tokens, and both were fed the same so far.
inline PromptSteps steps_of(const evidence::StoredRun& a, const evidence::StoredRun& b, std::size_t prompt,
                            bool after_divergence) {
  PromptSteps out{.prompt = prompt, .first_divergent_step = {}, .first_other_choice = {}};
  std::map<int, const evidence::StoredStep*> steps;
  for (const auto& step : a.steps) steps.emplace(step.step, &step);
  const auto lower = [](std::optional<int>& first, int step) { first = std::min(first.value_or(step), step); };
  for (const auto& step : b.steps)
    if (const auto other = steps.find(step.step); other != steps.end())
      if (const auto& x = other->second->token_id, &y = step.token_id; x && y && *x != *y)
        lower(out.first_divergent_step, step.step);
  constexpr int never = std::numeric_limits<int>::max();
  const int before = after_divergence ? never : out.first_divergent_step.value_or(never);
  for (const auto& step : b.steps) {
    const auto other = steps.find(step.step);
    if (other == steps.end() || step.step >= before) continue;
    ++out.steps_compared;
    if (out.first_divergent_step && step.step >= *out.first_divergent_step) continue;
    const auto x = choice_of(*other->second), y = choice_of(step);
    if (!x || !y || (!other->second->chosen_token_id && !step.chosen_token_id)) continue;
    ++out.choices;
    if (*x == *y) continue;
    ++out.other_choices;
    lower(out.first_other_choice, step.step);
  }
  return out;
}

/// In the notes: from where on two runs were fed other tokens, and where they would have chosen others.
inline void note_tokens(Analysis& analysis, const Comparison& comparison) {
  const std::string ids = analysis.configurations[comparison.a].id + " and " + analysis.configurations[comparison.b].id;
  if (const PromptSteps* first = comparison.first_divergence()) {
    const auto count = std::ranges::count_if(
        comparison.prompts, [](const PromptSteps& one) { return one.first_divergent_step.has_value(); });
    const std::string of =
        analysis.prompts.size() == 1 ? "" : fmt::format(", in {} of {} prompts", count, comparison.prompts.size());
    analysis.notes.push_back(fmt::format(
        "{}: tokens differ from {} on{}; {}", ids,
        step_text(analysis.prompts, *first->first_divergent_step, first->prompt), of,
        analysis.after_divergence ? "later steps are compared all the same" : "rows before it are compared"));
  }
  int choices = 0, other = 0;
  const PromptSteps* first = nullptr;
  for (const PromptSteps& one : comparison.prompts) {
    choices += one.choices;
    other += one.other_choices;
    if (one.first_other_choice && (first == nullptr || *one.first_other_choice < *first->first_other_choice))
      first = &one;
  }
  if (first == nullptr) return;
  analysis.notes.push_back(
      fmt::format("{}: fed the same tokens, they would have chosen others from {} on, in {} of {} steps", ids,
                  step_text(analysis.prompts, *first->first_other_choice, first->prompt), other, choices));
}

}  // namespace fpf::compare::detail
