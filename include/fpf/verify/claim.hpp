// What a piece of evidence claims, run by run, and where it contradicts itself.
#pragma once

#include <cmath>
#include <fpf/evidence/labels.hpp>
#include <fpf/verify/non_finite.hpp>
#include <set>
#include <string>
#include <vector>

namespace fpf::verify {

using nlohmann::json;

/// One stored run with its configuration.
struct Claim {
  const evidence::ExperimentFile* file = nullptr;
  const evidence::StoredRun* run = nullptr;
  const json* configuration = nullptr;
  evidence::RunTexts texts;
  std::vector<std::vector<std::int32_t>> prompts;  // of the batch, the run's own first
  evidence::Signals signals;
  std::vector<std::string> contradictions;  // where it cannot be what a run of fpf left

  const std::string& id() const { return run->config_id; }
  std::string name() const { return evidence::run_name(*file, *run); }

  /// A value of the configuration, "/fixed_params/tp_size"; null where there is none.
  json at(const char* pointer) const { return configuration->value(json::json_pointer(pointer), json()); }
  std::string text_at(const char* pointer) const {
    const json value = at(pointer);
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  /// Whether the file records repetitions of this run that all have the same bits.
  bool repeats() const {
    using Pointer = json::json_pointer;
    return run->members.value(Pointer("/reproducibility/bit_exact"), false) &&
           run->members.value(Pointer("/reproducibility/repetitions"), 0) >= 2;
  }
  /// Whether its tokens were given to it, so that it did not feed what it chose.
  bool is_forced() const { return run->members.contains("tokens"); }
  bool complete() const { return run->members.value("status", "complete") == "complete"; }
};

namespace detail {

class Inspector {
 public:
  explicit Inspector(Claim& claim) : claim_(claim) {}

  void inspect() {
    const std::vector<void (Inspector::*)()> checks{&Inspector::prompts, &Inspector::status, &Inspector::read_signals,
                                                    &Inspector::logprobs, &Inspector::digests};
    try {
      claim_.texts = evidence::read_texts(*claim_.file, *claim_.run);
      for (const auto check : checks) (this->*check)();
    } catch (const Error& error) {  // the checks behind it stand on what it could not read
      claim_.contradictions.emplace_back(error.what());
    } catch (const json::exception& error) {
      add("{}", error.what());
    }
    for (auto& one : evidence::label_contradictions(*claim_.file, *claim_.configuration, claim_.run))
      claim_.contradictions.push_back(std::move(one));
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    claim_.contradictions.push_back(claim_.name() + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  void prompts() {
    if (claim_.texts.prompt_token_ids.size() < 2) fail("{}: expected a prompt of at least 2 tokens", claim_.name());
    claim_.prompts.push_back(claim_.texts.prompt_token_ids);
    for (const json& one : member_or_null(claim_.run->members, "neighbours"))
      claim_.prompts.push_back(evidence::ids_of(member_or_null(one, "prompt_token_ids"), claim_.name()));
    if (!claim_.at("/manifest/fpf/version").is_string()) add("its configuration has no manifest of fpf's");
    for (const char* field : {"prompt_sha256", "signals_sha256", "reproducibility"})
      if (member_or_null(claim_.run->members, field).is_null()) add("it has no {}", field);
  }

  /// A run is complete, or names the value that is no number and ended it.
  void status() {
    const json& members = claim_.run->members;
    const std::string status = members.value("status", "complete");
    if (status != "complete" && status != "non_finite") add("status is '{}', expected complete or non_finite", status);
    if (claim_.complete() == members.contains("non_finite"))
      add("status is '{}', and non_finite names {} place", status, claim_.complete() ? "a" : "no");
    if (claim_.complete() || !members.contains("non_finite")) return;
    const std::string found =
        place_contradiction(non_finite_place(members), static_cast<std::int64_t>(claim_.texts.prompt_token_ids.size()),
                            claim_.file->metadata.value("decode_steps", std::int64_t{-1}),
                            static_cast<std::int64_t>(claim_.run->steps.size()));
    if (!found.empty()) add("{}", found);
  }

  void read_signals() {
    claim_.signals = evidence::read_signals(*claim_.file, *claim_.run, claim_.texts.prompt_token_ids.size());
  }

  /// Descending, ties by the lower id, and no more than certainty in all.
  void logprobs() {
    const auto& top = claim_.signals.logprobs;
    const auto k = static_cast<std::size_t>(top.k);
    for (std::size_t begin = 0; begin + k <= top.values.size(); begin += k) {
      double sum = 0;
      for (std::size_t i = begin; i < begin + k; ++i) {
        sum += std::exp(double{top.values[i]});
        const bool falls = i == begin || top.values[i] < top.values[i - 1] ||
                           (top.values[i] == top.values[i - 1] && top.ids[i] > top.ids[i - 1]);
        if (!falls || top.values[i] > 0)
          add("logprobs at position {}: number {} is not in descending order, or above 0", position(begin / k),
              i - begin);
      }
      if (sum > 1.001) add("logprobs at position {} add up to a probability of {:.4f}", position(begin / k), sum);
    }
  }

  void digests() {
    if (claim_.complete()) {
      for (auto& one : evidence::digest_contradictions(*claim_.file, *claim_.run, evidence::digests_of(claim_.signals)))
        claim_.contradictions.push_back(std::move(one));
      return;
    }
    const json& claimed = member_or_null(claim_.run->members, "signals_sha256");
    if (const std::string found = claimed_digests().combined(); claimed != found)
      add("signals_sha256 is {}, its digests give {}", claimed.dump(), found);
  }

  /// What a run of which not all signals are stored says of them.
  evidence::Digests claimed_digests() const {
    const json& all = member_or_null(member_or_null(claim_.run->members, "reproducibility"), "digests");
    for (const json& one : all)
      if (member_or_null(one, "rep_id") == claim_.run->rep_id) return evidence::digests_from(one);
    return {};
  }

  std::int64_t position(std::size_t row) const {
    return claim_.signals.prompt_tokens - (evidence::look_back - 1) + static_cast<std::int64_t>(row);
  }

  Claim& claim_;
};

}  // namespace detail

/// Every run of an open experiment file, with its contradictions. Throws Interrupted.
inline std::vector<Claim> read_claims(const evidence::ExperimentFile& file) {
  std::vector<Claim> out;
  std::set<std::string> without_runs;
  for (const json& configuration : file.configurations)
    without_runs.insert(configuration.at("config_id").get<std::string>());
  for (const auto& run : file.runs) without_runs.erase(run.config_id);
  for (const auto& run : file.runs) {
    check_interrupt();
    Claim& claim = out.emplace_back();
    claim.file = &file;
    claim.run = &run;
    for (const json& configuration : file.configurations)
      if (configuration.at("config_id") == run.config_id) claim.configuration = &configuration;
    detail::Inspector(claim).inspect();
  }
  for (const std::string& id : without_runs)
    out.front().contradictions.push_back(out.front().name() + ": beside it stands " + id + ", which has no run");
  return out;
}

}  // namespace fpf::verify
