// Which runs of the noise files are noise for a claim.
#pragma once

#include <array>
#include <fpf/verify/copies.hpp>
#include <fpf/verify/verifier.hpp>
#include <list>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fpf::verify {

/// The runs of the noise files, each read and inspected once.
class NoiseRuns {
 public:
  /// Opens the files. Throws Error.
  NoiseRuns(const std::vector<std::string>& names, const std::vector<Claim>& evidence) : evidence_(evidence) {
    for (const std::string& name : names) {
      File& added = files_.emplace_back();
      added.file = evidence::open_experiment(name);
      for (Claim& claim : read_claims(added.file)) added.runs.push_back({std::move(claim), {}, false});
    }
    if (!names.empty())
      for (const Claim& one : evidence) seen_.add(one, "the evidence, " + one.name() + ",");
  }

  /// Those that are noise for this claim: its policies on its kind of machine, of each configuration of a file one run
  /// a prompt. Why a file has none goes into `report`'s notes. Throws Error where one holds contradictions, is a copy
  /// of a run of the evidence or of another, or answers its prompt.
  std::vector<const Claim*> honest_for(const Claim& claim, Verifier& verifier, RunReport& report) {
    std::vector<const Claim*> out;
    for (File& one : files_) {
      if (!claim.complete()) {
        report.notes.push_back(one.file.name() +
                               " has no noise for it: it ended in no number, which its digests decide");
        continue;
      }
      std::string why;
      std::set<std::pair<std::string, std::size_t>> taken;  // configurations and prompts of this file
      for (Honest& honest : one.runs) {
        if (const std::string reason = why_no_noise(claim, honest.claim); !reason.empty()) {
          why = reason;
          continue;
        }
        if (!taken.insert({honest.claim.id(), evidence::prompt_index(*honest.claim.run)}).second) continue;
        require_honest(honest, verifier);
        require_own_prompt(honest.claim, out);
        out.push_back(&honest.claim);
      }
      one.used |= !taken.empty();
      if (taken.empty()) report.notes.push_back(fmt::format("{} has no noise for it: {}", one.file.name(), why));
    }
    return out;
  }

  /// The first file that no claim took noise from; empty where all gave some.
  std::string unused() const {
    for (const File& one : files_)
      if (!one.used) return one.file.name();
    return "";
  }

 private:
  struct Honest {
    Claim claim;
    std::optional<RunReport> found;
    bool seen = false;
  };
  struct File {
    evidence::ExperimentFile file{};
    std::vector<Honest> runs{};
    bool used = false;
  };

  /// Why an honest run says nothing about a claim's noise; empty when it does. Its distances count where the claim's
  /// do: at the same signals and at least as many steps.
  static std::string why_no_noise(const Claim& claim, const Claim& honest) {
    if (honest.at("/fixed_params") != claim.at("/fixed_params")) return "its fixed_params are others";
    const auto differences = machine_differences(claim.at("/manifest"), honest.at("/manifest"));
    if (!differences.empty())
      return fmt::format("its {} is {}, the evidence's is {}", differences.front().field, differences.front().here,
                         differences.front().claimed);
    const evidence::Signals &a = claim.signals, &b = honest.signals;
    if (!std::ranges::equal(a.layers, b.layers, {}, &evidence::LayerSignals::layer, &evidence::LayerSignals::layer))
      return "it records other layers than the evidence";
    if (a.logprobs.k != b.logprobs.k)
      return fmt::format("it records {} log-probabilities a position, the evidence {}", b.logprobs.k, a.logprobs.k);
    if (b.steps() < a.steps())
      return fmt::format("it has {} decode steps, the evidence {}: expected at least as many", b.steps(), a.steps());
    return "";
  }

  static std::string run_of(const Claim& claim) { return claim.file->name() + ", " + claim.name(); }

  void require_honest(Honest& honest, Verifier& verifier) {
    if (!honest.found) honest.found = verifier.inspect_noise(honest.claim);
    const std::string name = honest.claim.file->name();
    if (honest.found->decision == Decision::reject || !honest.found->complete)
      fail("--noise {}: expected an honest run, and {}", name,
           honest.found->decision == Decision::reject ? honest.found->reason
                                                      : honest.claim.name() + " ended in no number");
    if (std::exchange(honest.seen, true)) return;
    if (const std::string copy = seen_.copy_of(honest.claim); !copy.empty())
      fail(
          "--noise {}: {}: {}. It is a copy, or answers the same prompt: an honest run counts once, and the evidence "
          "is no noise of its own; leave this file out",
          name, honest.claim.name(), copy);
    seen_.add(honest.claim, run_of(honest.claim) + ",");
  }

  void require_own_prompt(const Claim& honest, const std::vector<const Claim*>& taken) const {
    const auto refuse = [&](const std::string& whose) {
      fail("--noise {}: {}: it answers the prompt of {}: an honest run needs a prompt of its own, or it may be a copy",
           honest.file->name(), honest.name(), whose);
    };
    for (const Claim& other : evidence_)
      if (other.prompts.front() == honest.prompts.front()) refuse("the evidence, " + other.name());
    for (const Claim* other : taken)
      if (other->prompts.front() == honest.prompts.front()) refuse(run_of(*other));
  }

  const std::vector<Claim>& evidence_;
  std::list<File> files_;
  SeenRows seen_;
};

}  // namespace fpf::verify
