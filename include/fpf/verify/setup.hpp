// From what a run claims to be to the set-up that re-executes it here.
#pragma once

#include <fpf/experiment/registry.hpp>
#include <fpf/experiment/session.hpp>
#include <fpf/verify/claim.hpp>
#include <memory>

namespace fpf::verify {

/// The policies that a claim names, alone on its device: a load beside it changes no operation. Throws Error, by the
/// manifest's field, for a policy that this program does not have.
inline Setup setup_of(const Claim& claim) {
  const auto text = [&](const char* policy) {
    return claim.text_at((std::string("/manifest/policies/") + policy).c_str());
  };
  const Registry& known = registry();
  Setup out = reference_setup(text("execution"), "manifest.policies.execution");
  if (!out.execution->portable)
    out.attention = &named(known.attentions, "manifest.policies.attention", text("attention"));
  out.parallelism = &named(known.parallelisms, "manifest.policies.parallelism", text("parallelism"));
  for (const quant::Scheme* own : known.quantisations)
    if (own->name == text("quantisation")) out.quantisation = own;
  return out;
}

/// The ranks that a claim's model was divided over.
inline int ranks_of(const Claim& claim) {
  const json ranks = claim.at("/manifest/ranks");
  const auto size = std::max<std::int64_t>(claim.configuration->value(json::json_pointer("/fixed_params/tp_size"), 1),
                                           claim.configuration->value(json::json_pointer("/fixed_params/ep_size"), 1));
  if (!ranks.is_array() || size < 1 || size > 4096)
    fail("{}: expected a number of ranks, found {}", claim.name(), size);
  return static_cast<int>(size);
}

}  // namespace fpf::verify
