// What a piece of evidence claims, run by run, and where it contradicts itself.
#pragma once

#include <cmath>
#include <fpf/core/hash.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <fpf/verify/non_finite.hpp>
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
  std::string name() const { return evidence::detail::run_name(*file, *run); }

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
  bool complete() const { return run->members.value("status", "complete") == "complete"; }
};

namespace detail {

class Inspector {
 public:
  explicit Inspector(Claim& claim) : claim_(claim) {}

  void inspect() {
    const std::vector<void (Inspector::*)()> checks{
        &Inspector::prompt,       &Inspector::status,      &Inspector::steps,
        &Inspector::read_signals, &Inspector::logprobs,    &Inspector::greedy,
        &Inspector::digests,      &Inspector::repetitions, &Inspector::policies};
    try {
      claim_.texts = evidence::read_texts(*claim_.file, *claim_.run);
      for (const auto check : checks) (this->*check)();
    } catch (const Error& error) {  // the checks behind it stand on what it could not read
      claim_.contradictions.emplace_back(error.what());
    } catch (const json::exception& error) {
      add("{}", error.what());
    }
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    claim_.contradictions.push_back(claim_.name() + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  void prompt() {
    const auto check = [&](const std::vector<std::int32_t>& ids, const json& claimed, const std::string& whose) {
      const std::string found = sha256_hex(std::as_bytes(std::span(ids)));
      if (claimed != found) add("{}prompt_sha256 is {}, its ids have {}", whose, claimed.dump(), found);
      if (ids.size() != claim_.texts.prompt_token_ids.size())
        add("{}prompt has {} tokens, expected {}", whose, ids.size(), claim_.texts.prompt_token_ids.size());
      claim_.prompts.push_back(ids);
    };
    check(claim_.texts.prompt_token_ids, claim_.run->members.value("prompt_sha256", json()), "");
    if (claim_.texts.prompt_token_ids.size() < 2) fail("{}: expected a prompt of at least 2 tokens", claim_.name());
    for (const json& one : claim_.texts.neighbours.is_array() ? claim_.texts.neighbours : json::array()) {
      const std::string whose = fmt::format("neighbours[{}]: ", claim_.prompts.size() - 1);
      check(evidence::detail::ids_of(one.value("prompt_token_ids", json()), claim_.name() + ", " + whose),
            one.value("prompt_sha256", json()), whose);
    }
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

  void steps() {
    const auto& run = *claim_.run;
    const auto expected = claim_.file->metadata.value("decode_steps", std::int64_t{-1});
    const auto prompt = static_cast<std::int64_t>(claim_.texts.prompt_token_ids.size());
    if (expected < 1) add("experiment_metadata says {} decode steps, expected at least one", expected);
    if (static_cast<std::int64_t>(run.steps.size()) != expected && claim_.complete())
      add("it has {} decode steps, experiment_metadata says {}", run.steps.size(), expected);
    if (claim_.file->metadata.value("sequence_length", std::int64_t{-1}) != prompt + expected)
      add("sequence_length is {}, prompt and steps have {}",
          claim_.file->metadata.value("sequence_length", json()).dump(), prompt + expected);
    for (std::size_t i = 0; i < run.steps.size(); ++i)
      if (run.steps[i].step != static_cast<int>(i)) add("decode_steps[{}] is numbered {}", i, run.steps[i].step);
    if (!run.steps.empty() && (!run.prompt_tokens || *run.prompt_tokens != prompt))
      add("decode step 0 stands at absolute_position {}, expected {}, the length of the prompt",
          run.prompt_tokens ? std::to_string(*run.prompt_tokens) : "none", prompt);
  }

  void read_signals() { claim_.signals = evidence::read_signals(*claim_.file, *claim_.run, claim_.texts); }

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

  /// Every token fed is the most probable one of the position before.
  void greedy() {
    const auto& signals = claim_.signals;
    for (std::size_t step = 0; step < signals.token_ids.size(); ++step) {
      const std::int32_t best = signals.logprobs.ids[(step + 1) * static_cast<std::size_t>(signals.logprobs.k)];
      if (signals.token_ids[step] != best)
        add("decode_steps[{}].token_id is {}: the log-probabilities at the position before have {} first", step,
            signals.token_ids[step], best);
    }
  }

  void digests() {
    const json& all = claim_.run->members;
    const auto stored = all.value(json::json_pointer("/reproducibility/digests"), json::array());
    const auto mine =
        std::ranges::find_if(stored, [&](const json& one) { return one.value("rep_id", -1) == claim_.run->rep_id; });
    if (mine == stored.end()) {
      add("reproducibility.digests has none of repetition {}", claim_.run->rep_id);
      return;
    }
    const evidence::Digests own = claim_.complete() ? evidence::digests_of(claim_.signals) : digests_in(*mine);
    if (all.value("signals_sha256", "") != own.combined())
      add("signals_sha256 is {}, its {} {}", all.value("signals_sha256", json()).dump(),
          claim_.complete() ? "vectors have" : "digests give", own.combined());
    for (const auto& [name, found] : {std::pair{"hidden_states", own.hidden_states},
                                      {"key_vectors", own.key_vectors},
                                      {"logprobs", own.logprobs},
                                      {"router", own.router}})
      if (const json claimed = mine->value(name, json()); claimed != found)
        add("the digest of {} is {}, its vectors have {}", name, claimed.dump(), found);
  }

  /// What a run of which not all signals are stored says of them.
  static evidence::Digests digests_in(const json& digests) {
    return {digests.value("hidden_states", ""), digests.value("key_vectors", ""), digests.value("logprobs", ""),
            digests.value("router", "")};
  }

  /// What the file says of repetitions follows from their digests.
  void repetitions() {
    const json record = claim_.run->members.value("reproducibility", json::object());
    const json digests = record.value("digests", json::array());
    if (record.value("repetitions", std::size_t{0}) != digests.size())
      add("reproducibility says {} repetitions and has the digests of {}", record.value("repetitions", json()).dump(),
          digests.size());
    bool equal = true;
    for (json one : digests) {
      json first = digests.front();
      one.erase("rep_id");
      first.erase("rep_id");
      equal &= one == first;
    }
    if (record.value("bit_exact", json()) != equal)
      add("reproducibility.bit_exact is {}, its digests are {}", record.value("bit_exact", json()).dump(),
          equal ? "equal" : "not equal");
  }

  /// fixed_params and the manifest speak of one set-up.
  void policies() {
    const auto same = [&](const char* fixed, const char* manifest) {
      if (claim_.at(fixed) != claim_.at(manifest))
        add("{} is {} and {} is {}", fixed + 1, claim_.at(fixed).dump(), manifest + 1, claim_.at(manifest).dump());
    };
    same("/fixed_params/attention_impl", "/manifest/policies/attention");
    same("/fixed_params/execution", "/manifest/policies/execution");
    if (claim_.at("/fixed_params/batch_size") != claim_.prompts.size())
      add("fixed_params/batch_size is {}, with its neighbours it has {} sequences",
          claim_.text_at("/fixed_params/batch_size"), claim_.prompts.size());
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
  for (const auto& run : file.runs) {
    check_interrupt();
    Claim& claim = out.emplace_back();
    claim.file = &file;
    claim.run = &run;
    for (const json& configuration : file.configurations)
      if (configuration.at("config_id") == run.config_id) claim.configuration = &configuration;
    detail::Inspector(claim).inspect();
    const json &own = run.members.value("prompt_sha256", json()),
               first = file.runs.front().members.value("prompt_sha256", json());
    if (own != first)
      claim.contradictions.push_back(claim.name() + ": prompt_sha256 is " + own.dump() + ", in the file's first run " +
                                     first.dump());
  }
  return out;
}

}  // namespace fpf::verify
