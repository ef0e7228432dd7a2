// The tokens that decode steps are fed where they are not each run's own choice: --tokens.
#pragma once

#include <fpf/experiment/baseline.hpp>
#include <fpf/experiment/inputs.hpp>
#include <fpf/experiment/token_file.hpp>
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

  /// Of each prompt.
  std::vector<std::string> digests() const {
    std::vector<std::string> out;
    for (const auto& one : ids) out.push_back(prompt::prompt_sha256(one));
    return out;
  }
};

/// Those that the baseline was fed. Throws Error for a run that ended early.
inline std::vector<std::vector<std::int32_t>> tokens_of_baseline(const Baseline& baseline, const Inputs& inputs,
                                                                 std::int64_t steps) {
  std::vector<std::vector<std::int32_t>> out;
  for (const prompt::Prompt& one : inputs.prompts)
    out.push_back(detail::fed_tokens(baseline.first_run(one.sha256), steps, "the baseline " + baseline.name()));
  return out;
}

}  // namespace fpf
