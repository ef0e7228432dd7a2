// The tokens that decode steps are fed where they are not each run's own choice: --tokens.
#pragma once

#include <fpf/evidence/looks_like.hpp>
#include <fpf/experiment/baseline.hpp>
#include <fpf/experiment/inputs.hpp>
#include <string>
#include <vector>

namespace fpf {

/// Tokens that all configurations are fed, so that every step has equal inputs.
struct ForcedTokens {
  std::string from;                            // "baseline" or "file"
  std::vector<std::vector<std::int32_t>> ids;  // [prompts, decode_steps]

  /// The `tokens` of a prompt's runs: {"from", "sha256"}, over the ids as little-endian int32.
  Json describe(std::size_t prompt) const {
    return {{"from", from}, {"sha256", prompt::prompt_sha256(ids.at(prompt))}};
  }
};

namespace detail {

/// The tokens that a run was fed, the first `steps` of them. Throws Error, naming `what`, where it has fewer.
inline std::vector<std::int32_t> fed_tokens(const evidence::StoredRun& run, std::int64_t steps,
                                            const std::string& what) {
  std::vector<std::int32_t> out = evidence::tokens_fed(run);
  std::int64_t known = 0;
  while (known < steps && known < std::ssize(out) && run.steps[static_cast<std::size_t>(known)].step == known &&
         out[static_cast<std::size_t>(known)] >= 0)
    ++known;
  if (known < steps) fail("{}: expected the tokens of {} decode steps, found {}", what, steps, known);
  out.resize(static_cast<std::size_t>(steps));
  return out;
}

}  // namespace detail

/// Those that the baseline was fed. Throws Error for a run that ended early.
inline std::vector<std::vector<std::int32_t>> tokens_of_baseline(const Baseline& baseline, const Inputs& inputs,
                                                                 std::int64_t steps) {
  std::vector<std::vector<std::int32_t>> out;
  for (const prompt::Prompt& one : inputs.prompts)
    out.push_back(detail::fed_tokens(baseline.first_run(one.sha256), steps, "the baseline " + baseline.name()));
  return out;
}

/// Those that --tokens FILE names: a JSON array of ids where there is one prompt, or the baseline's of an experiment file of
/// the same prompts, which are given by their prompt_sha256. Throws Error for another file, too few tokens, and ids that the
/// model does not know.
inline std::vector<std::vector<std::int32_t>> tokens_of_file(const std::string& path,
                                                             const std::vector<std::string>& prompts,
                                                             std::int64_t steps, std::int64_t vocabulary) {
  const std::string what = "--tokens " + path;
  if (!std::filesystem::exists(path))
    fail("{}: there is no such file: expected own, baseline, a JSON array of token ids, or an experiment file", what);
  std::vector<std::vector<std::int32_t>> out;
  if (evidence::looks_like_experiment(path)) {
    const auto file = evidence::open_experiment(path);
    for (const std::string& one : prompts) {
      const auto* found =
          evidence::first_run(file, one, [&](const auto& run) { return evidence::is_of_baseline(file, run); });
      if (found == nullptr)
        fail("{}: expected a baseline that was given this prompt, whose prompt_sha256 is {}, found none", what, one);
      out.push_back(detail::fed_tokens(*found, steps, what));
    }
  } else {
    if (prompts.size() > 1)
      fail("{}: expected an experiment file, which has tokens for each of {} prompts, found ids of one", what,
           prompts.size());
    out.push_back(prompt::read_prompt_ids(path).token_ids);
    if (std::ssize(out.front()) < steps)
      fail("{}: expected the tokens of {} decode steps, found {}", what, steps, out.front().size());
    out.front().resize(static_cast<std::size_t>(steps));
  }
  for (const auto& ids : out)
    for (const std::int32_t id : ids)
      if (id < 0 || id >= vocabulary)
        fail("{} has token id {}: the model's vocabulary ends at {}", what, id, vocabulary - 1);
  return out;
}

}  // namespace fpf
