// From what a run claims to be to the set-up that re-executes it here.
#pragma once

#include <fpf/execution/compiled.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/execution/select.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/tensor.hpp>
#include <fpf/quant/awq.hpp>
#include <fpf/quant/gptq.hpp>
#include <fpf/quant/nf4.hpp>
#include <fpf/quant/select.hpp>
#include <fpf/verify/claim.hpp>
#include <memory>

namespace fpf::verify {

namespace detail {

template <class Quant, class Execution>
std::shared_ptr<AnyExperiment> make(const model::Checkpoint& checkpoint, const RunSettings& settings,
                                    const std::string& attention, const std::string& parallelism) {
  namespace p = parallel;
  using Alone = stream::Exclusive;
  const auto with = [&]<class Attention, class Parallel>() -> std::shared_ptr<AnyExperiment> {
    return fpf::make_setup<Experiment<Quant, Attention, Parallel, Alone, Execution>>(checkpoint, settings);
  };
  const bool flash = attention == attention::Flash::name || execution::is_portable<Execution>();
  if (flash && parallelism == p::Single::name) return with.template operator()<attention::Flash, p::Single>();
  if (flash && parallelism == p::Tensor::name) return with.template operator()<attention::Flash, p::Tensor>();
  if (flash && parallelism == p::Expert::name) return with.template operator()<attention::Flash, p::Expert>();
  if constexpr (!execution::is_portable<Execution>())
    if (attention == attention::Eager::name && parallelism == p::Single::name)
      return with.template operator()<attention::Eager, p::Single>();
  fail("verify has no set-up with attention '{}' and parallelism '{}'", attention, parallelism);
}

}  // namespace detail

/// Loads the model under the policies that a claim names, alone on its device: a load beside it changes no operation.
/// `checkpoint` must outlive it. Throws Error for a policy that this build does not have.
inline std::shared_ptr<AnyExperiment> make_setup(const Claim& claim, const model::Checkpoint& checkpoint,
                                                 const RunSettings& settings) {
  const std::string attention = claim.text_at("/manifest/policies/attention"),
                    parallelism = claim.text_at("/manifest/policies/parallelism");
  return quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    return execution::select(claim.text_at("/manifest/policies/execution"), [&]<class Execution>() {
      return detail::make<Quant, Execution>(checkpoint, settings, attention, parallelism);
    });
  });
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
