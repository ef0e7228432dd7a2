// Which runs of the noise files are noise for a claim.
#pragma once

#include <array>
#include <fpf/verify/copies.hpp>
#include <fpf/verify/verifier.hpp>
#include <list>
#include <set>
#include <string>
#include <vector>

namespace fpf::verify {

namespace detail {

/// Why an honest run says nothing about a claim's noise; empty when it does. Its distances count where the claim's do:
/// at the same signals and at least as many steps.
inline std::string why_no_noise(const Claim& claim, const Claim& honest) {
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

inline std::string run_of(const Claim& claim) { return claim.file->name() + ", " + claim.name(); }

}  // namespace detail

/// Of the noise files' runs those that are noise for this claim: its policies on its kind of machine, one run a
/// configuration of a file. Why a file has none goes into `report`'s notes; files that have some are added to `used`.
/// Throws Error where one holds contradictions, is a copy of a run of the `evidence`, or stands there twice.
inline std::vector<Claim> honest_for(const Claim& claim, const std::vector<Claim>& evidence,
                                     const std::list<evidence::ExperimentFile>& files, Verifier& verifier,
                                     RunReport& report, std::set<std::string>& used) {
  std::vector<Claim> out;
  if (!claim.complete()) {
    for (const auto& file : files)
      report.notes.push_back(file.name() + " has no noise for it: it ended in no number, which its digests decide");
    return out;
  }
  SeenRows seen;
  if (!files.empty())
    for (const Claim& one : evidence) seen.add(one, "the evidence, " + one.name() + ",");
  for (const auto& file : files) {
    std::string why;
    std::set<std::string> taken;  // configurations of this file
    bool any = false;
    for (Claim& honest : read_claims(file)) {
      if (const std::string reason = detail::why_no_noise(claim, honest); !reason.empty()) {
        why = reason;
        continue;
      }
      any = true;
      if (!taken.insert(honest.id()).second) continue;
      RunReport found = verifier.inspect_noise(honest);
      if (found.decision == Decision::reject || !found.complete)
        fail("--noise {}: expected an honest run, and {}", file.name(),
             found.decision == Decision::reject ? found.reason : honest.name() + " ended in no number");
      if (const std::string copy = seen.copy_of(honest); !copy.empty())
        fail(
            "--noise {}: {}: {}. It is a copy, or answers the same prompt: an honest run counts once, and the evidence "
            "is no noise of its own; leave this file out",
            file.name(), honest.name(), copy);
      const auto same_prompt = [&](const Claim& other) { return other.prompts.front() == honest.prompts.front(); };
      for (const std::vector<Claim>* others : std::array<const std::vector<Claim>*, 2>{&evidence, &out})
        if (const auto other = std::ranges::find_if(*others, same_prompt); other != others->end())
          fail(
              "--noise {}: {}: it answers the prompt of {}: an honest run needs a prompt of its own, or it may be a copy",
              file.name(), honest.name(), others == &out ? detail::run_of(*other) : "the evidence, " + other->name());
      seen.add(honest, detail::run_of(honest) + ",");
      out.push_back(std::move(honest));
    }
    if (any)
      used.insert(file.name());
    else
      report.notes.push_back(fmt::format("{} has no noise for it: {}", file.name(), why));
  }
  return out;
}

}  // namespace fpf::verify
