// What a run was fed, held against what its file says of it: prompts and tokens.
#pragma once

#include <algorithm>
#include <fpf/core/hash.hpp>
#include <fpf/evidence/prompts.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fpf::evidence::detail {

/// Whether a configuration is one that fpf wrote.
inline bool has_manifest(const nlohmann::json& configuration) {
  const auto& manifest = member_or_null(configuration, "manifest");
  return member_or_null(member_or_null(manifest, "fpf"), "version").is_string();
}

/// Looks at one run of a file; `add` takes what contradicts, a sentence each. What every file of fpf's says is asked of
/// those with a manifest.
class FedInspector {
 public:
  FedInspector(const ExperimentFile& file, const nlohmann::json& configuration, const StoredRun& run,
               std::function<void(const std::string&)> add)
      : file_(file),
        configuration_(configuration),
        run_(run),
        has_manifest_(has_manifest(configuration)),
        add_(std::move(add)) {}

  /// Ids are those of their digest, and as many as the first step stands behind.
  void prompt() {
    const json& claimed = member(run_.members, "prompt_sha256");
    if (!claimed.is_null() && run_.prompt_token_ids) hold_prompt("", read_prompt_ids(file_, run_), claimed);
    const json& neighbours = member(run_.members, "neighbours");
    for (std::size_t i = 0; i < neighbours.size(); ++i) {
      const std::string whose = fmt::format("neighbours[{}]: ", i);
      hold_prompt(whose, ids_of(member(neighbours.at(i), "prompt_token_ids"), whose),
                  member(neighbours.at(i), "prompt_sha256"));
    }
  }

  /// Runs of one prompt_index answer one prompt, those of others another, and a configuration answers all that there
  /// are.
  void prompts() {
    if (!has_manifest_) return;
    const std::size_t own = prompt_index(run_);
    std::set<std::size_t> answered;
    for (const StoredRun& other : file_.runs) {
      const std::size_t index = prompt_index(other);
      if (other.config_id == run_.config_id) answered.insert(index);
      const json &a = member(run_.members, "prompt_sha256"), &b = member(other.members, "prompt_sha256");
      if ((index == own) != (a == b))
        return add("its prompt {} has prompt_sha256 {:.80}, prompt {} of {} has {:.80}", own, a.dump(), index,
                   run_name(file_, other), b.dump());
    }
    const json& stated = member(file_.metadata, "prompts");
    const StatedPrompts prompts = stated_prompts(file_);
    const std::size_t count = prompts.count;
    if (member(run_.members, "prompt_index").is_null() != stated.is_null())
      add("prompt_index is {}, experiment_metadata.prompts is {:.60}", member(run_.members, "prompt_index").dump(),
          stated.dump());
    const json& document = member(run_.members, "document_sha256");
    if (document.is_null() != prompts.documents.empty() ||
        (!document.is_null() && std::ranges::find(prompts.documents, document.get<std::string>()) ==
                                    prompts.documents.end()))
      add("document_sha256 is {:.80}, experiment_metadata.prompts has {} documents, and not one of that digest",
          document.dump(), prompts.documents.size());
    if (answered.size() != count || *answered.rbegin() != count - 1)
      add("its configuration answers {} prompts, the last of them {}: expected {}, which experiment_metadata.prompts says",
          answered.size(), *answered.rbegin(), count);
  }

  /// Every token fed is the most probable one of the position before; where tokens are forced, chosen_token_id is, and
  /// those fed are the baseline's, where it says so.
  void tokens() {
    own_tokens();
    if (!member(run_.members, "tokens").is_null()) hold_baselines();
  }

  /// What tokens() says of a run without the other runs of its file.
  void own_tokens() {
    const json& forced = member(run_.members, "tokens");
    if (!forced.is_null()) hold_digest(forced);
    hold_source(forced);
    if (!has_manifest_ || run_.steps.empty()) return;
    const Rows<float> top = read_positions(file_, run_, info(StoredSignal::logprobs), -1);
    for (std::size_t step = 0; step < run_.steps.size(); ++step) {
      const auto ids = top.row_ids(step + 1);
      if (ids.empty()) return add("its log-probabilities are empty");
      const std::int32_t best = ids.front();
      const StoredStep& at = run_.steps[step];
      const auto& own = forced.is_null() ? at.token_id : at.chosen_token_id;
      if (own != best)
        add("decode_steps[{}].{} is {}: the log-probabilities at the position before have {} first", step,
            forced.is_null() ? "token_id" : "chosen_token_id", own ? std::to_string(*own) : "none", best);
      if (forced.is_null() && at.chosen_token_id && at.chosen_token_id != at.token_id)
        add("decode_steps[{}].chosen_token_id is {}, and its tokens are not forced", step, *at.chosen_token_id);
    }
  }

 private:
  using json = nlohmann::json;

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    add_(fmt::format(format, std::forward<Args>(args)...));
  }

  static const json& member(const json& object, const char* name) { return member_or_null(object, name); }
  bool is_complete() const { return run_.members.value("status", json("complete")) == "complete"; }

  void hold_prompt(const std::string& whose, const std::vector<std::int32_t>& ids, const json& claimed) {
    const std::string found = sha256_hex(std::as_bytes(std::span(ids)));
    if (claimed != found) add("{}prompt_sha256 is {:.80}, its ids have {}", whose, claimed.dump(), found);
    if (run_.prompt_tokens && *run_.prompt_tokens != static_cast<std::int64_t>(ids.size()))
      add("{}the prompt has {} tokens, decode step 0 stands at absolute_position {}", whose, ids.size(),
          *run_.prompt_tokens);
  }

  void hold_digest(const json& forced) {
    const auto ids = tokens_fed(run_);
    const std::string found = sha256_hex(std::as_bytes(std::span(ids)));
    if (is_complete() && forced.at("sha256") != found)
      add("tokens.sha256 is {:.80}, those that it was fed have {}", forced.at("sha256").dump(), found);
  }

  /// Where a run's tokens are from is where its file says that tokens are from; the baseline's own are not from it.
  void hold_source(const json& forced) {
    const json& mode = member(file_.metadata, "tokens");
    const bool of_baseline = member(configuration_, "baseline") == true;
    if (mode == "baseline" && member(file_.metadata, "experiment_type") == "reference")
      add("experiment_metadata.tokens is \"baseline\": experiment 0 is the baseline, and may be fed a file's alone");
    if (!mode.is_null() && forced.is_null() && !of_baseline)
      add("it has no tokens, experiment_metadata.tokens is {:.40}", mode.dump());
    if (forced.is_null()) return;
    if (mode.is_null()) return add("its tokens are forced, and experiment_metadata has no tokens");
    const json& from = member(forced, "from");
    if (of_baseline && from != "file")
      add("tokens.from is {:.40}: it is the baseline, and may be fed a file's alone", from.dump());
    if (!of_baseline && from != mode)
      add("tokens.from is {:.40}, experiment_metadata.tokens is {:.40}", from.dump(), mode.dump());
  }

  /// Its tokens are the baseline's, where the file says so.
  void hold_baselines() {
    if (member(file_.metadata, "tokens") != "baseline") return;
    const auto ids = tokens_fed(run_);
    bool any = false;
    for (const StoredRun& run : file_.runs) {
      if (!is_of_baseline(file_, run) || prompt_index(run) != prompt_index(run_)) continue;
      any = true;
      const auto theirs = tokens_fed(run);
      const std::size_t common = is_complete() ? std::max(ids.size(), theirs.size()) : ids.size();
      for (std::size_t step = 0; step < common; ++step)
        if (step >= ids.size() || step >= theirs.size() || ids[step] != theirs[step])
          return add(
              "decode_steps[{}].token_id is {}: the baseline's is {}, and experiment_metadata.tokens is baseline", step,
              step < ids.size() ? std::to_string(ids[step]) : "none",
              step < theirs.size() ? std::to_string(theirs[step]) : "none");
    }
    if (!any) add("experiment_metadata.tokens is baseline, and the file has no run of one");
  }

  const ExperimentFile& file_;
  const json& configuration_;
  const StoredRun& run_;
  const bool has_manifest_;
  const std::function<void(const std::string&)> add_;
};

}  // namespace fpf::evidence::detail
