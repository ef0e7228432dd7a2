// From what a run claims to be to the set-up that re-executes it here.
#pragma once

#include <fpf/core/text.hpp>
#include <fpf/experiment/registry.hpp>
#include <fpf/experiment/session.hpp>
#include <fpf/verify/claim.hpp>
#include <memory>

namespace fpf::verify {

/// Throws Error where a claim's portable numerics are not those of this program, which has its version's and of the one
/// before what models of float32 compute: their bits are the same.
inline void require_numerics(const Claim& claim) {
  constexpr std::string_view field = "manifest.policies.execution_detail";
  const std::string detail = claim.text_at("/manifest/policies/execution_detail");
  const int found = execution::portable_version(detail);
  if (found == portable::version) return;
  if (found == 0)
    fail("{}: expected {} to name a version of the portable numerics, found {}: it was not written by fpf",
         claim.name(), field, one_line(detail, 100));
  if (found != 1)
    fail(
        "{}: {} names portable numerics of version {}, and this program has version {}: re-execute it by an fpf that has it",
        claim.name(), field, found, portable::version);
  if (const auto dtype = claim.text_at("/manifest/activation_dtype"); dtype != name_of(DType::float32))
    fail(
        "{}: {} names portable numerics of version 1, and of those this program, whose version is {}, computes models of "
        "float32 alone: this one is of {}, and its bits are those of an fpf of that time",
        claim.name(), field, portable::version, dtype);
}

/// The policies that a claim names, alone on its device: a load beside it changes no operation. Throws Error, by the
/// manifest's field, for a policy or portable numerics that this program does not have.
inline Setup setup_of(const Claim& claim) {
  const auto text = [&](const char* policy) {
    return claim.text_at(fmt::format("/manifest/policies/{}", policy).c_str());
  };
  const Registry& known = registry();
  Setup out = reference_setup(text("execution"), "manifest.policies.execution");
  if (out.execution->portable) require_numerics(claim);
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
