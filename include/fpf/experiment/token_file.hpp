// The file of --tokens FILE: what decode steps are fed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/evidence/looks_like.hpp>
#include <fpf/evidence/prompts.hpp>
#include <fpf/prompt/prompt_file.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf {

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

/// What --tokens FILE has: a JSON array of ids, which are one prompt's, or the baseline's of an experiment file, which
/// are given by their prompt_sha256. The file is read once.
class TokenFile {
 public:
  /// Throws Error for a file that is neither.
  explicit TokenFile(const std::string& path) : what_("--tokens " + path) {
    if (!std::filesystem::exists(path))
      fail("{}: there is no such file: expected own, baseline, a JSON array of token ids, or an experiment file", what_);
    if (evidence::looks_like_experiment(path))
      file_ = evidence::open_experiment(path);
    else
      ids_ = prompt::read_prompt_ids(path, prompt::IdForms::array).token_ids;
  }

  /// What can be told without the prompts. Throws Error for too few tokens, and for ids where prompts are several.
  void require(std::int64_t prompts, std::int64_t steps) const {
    if (file_) return;
    if (prompts > 1)
      fail("{}: expected an experiment file, which has tokens for each of {} prompts, found ids of one", what_, prompts);
    if (std::ssize(ids_) < steps)
      fail("{}: expected the tokens of {} decode steps, found {}", what_, steps, ids_.size());
  }

  /// The first `steps` of a prompt, which is one of `prompts`. Throws Error for too few tokens, ids that the model does
  /// not know, and prompts that the file does not tell apart.
  std::vector<std::int32_t> of(const std::string& prompt_sha256, std::size_t prompts, std::int64_t steps,
                               std::int64_t vocabulary) const {
    require(static_cast<std::int64_t>(prompts), steps);
    std::vector<std::int32_t> out = file_ ? of_baseline(prompt_sha256, steps) : ids_;
    out.resize(static_cast<std::size_t>(steps));
    for (const std::int32_t id : out)
      if (id < 0 || id >= vocabulary)
        fail("{} has token id {}: the model's vocabulary ends at {}", what_, id, vocabulary - 1);
    return out;
  }

 private:
  std::vector<std::int32_t> of_baseline(const std::string& prompt_sha256, std::int64_t steps) const {
    const auto* found = evidence::first_run(*file_, prompt_sha256,
                                            [&](const auto& run) { return evidence::is_of_baseline(*file_, run); });
    if (found == nullptr)
      fail("{}: expected a baseline that was given this prompt, whose prompt_sha256 is {}, found none", what_,
           prompt_sha256);
    return detail::fed_tokens(*found, steps, what_);
  }

  std::string what_;
  std::optional<evidence::ExperimentFile> file_;
  std::vector<std::int32_t> ids_;
};

}  // namespace fpf
