// From what a run claims to be to the set-up that re-executes it here.
#pragma once

#include <fpf/experiment/registry.hpp>
#include <fpf/experiment/session.hpp>
#include <fpf/verify/claim.hpp>
#include <memory>

namespace fpf::verify {

/// Whether a claim's portable numerics are those of this program. Models of float32 have the bits of version 1 still.
inline bool has_numerics(const Claim& claim) {
  const int version = execution::portable_version(claim.text_at("/manifest/policies/execution_detail"));
  return version == portable::version ||
         (version == 1 && claim.text_at("/manifest/activation_dtype") == name_of(DType::float32));
}

/// The policies that a claim names, alone on its device: a load beside it changes no operation. Throws Error, by the manifest's
/// field, for a policy that this program does not have.
inline Setup setup_of(const Claim& claim) {
  const auto text = [&](const char* policy) {
    return claim.text_at((std::string("/manifest/policies/") + policy).c_str());
  };
  const Registry& known = registry();
  Setup out = reference_setup(text("execution"), "manifest.policies.execution");
  if (out.execution->portable && !has_numerics(claim))
    fail(
        "{}: manifest.policies.execution_detail names portable numerics of version {}, of which this program, whose version "
        "is {}, has only what models of float32 compute: re-execute it by an fpf of that time",
        claim.name(), execution::portable_version(claim.text_at("/manifest/policies/execution_detail")),
        portable::version);
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
