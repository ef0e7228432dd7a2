// The policies that set-ups are made of, by the names that manifests give them: those of fpf and those that a project
// adds.
#pragma once

#include <algorithm>
#include <fpf/attention/eager.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/execution/compiled.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/experiment/setup.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/rank.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/parallel/tensor.hpp>
#include <fpf/quant/schemes.hpp>
#include <fpf/stream/exclusive.hpp>
#include <string>
#include <vector>

namespace fpf {

/// A project's own policy is one more element, added before the program reads its first file:
///   registry().attentions.push_back(&attention::kernel<BFloat16Cache>());
struct Registry {
  std::vector<const quant::Scheme*> quantisations{};  // of one's own: fpf's are chosen by the checkpoint
  std::vector<const attention::Kernel*> attentions{&attention::kernel<attention::Flash>(),
                                                   &attention::kernel<attention::Eager>()};
  std::vector<const parallel::Scheme*> parallelisms{&parallel::scheme<parallel::Single>(),
                                                    &parallel::scheme<parallel::Tensor>(),
                                                    &parallel::scheme<parallel::Expert>()};
  std::vector<const execution::Policy*> executions{&execution::policy<execution::Eager>(),
                                                   &execution::policy<execution::Compiled>(),
                                                   &execution::policy<execution::Portable>()};
};

inline Registry& registry() {
  static Registry value;
  return value;
}

/// The policy of that name. Throws Error saying which there are.
template <class T>
const T& named(const std::vector<const T*>& policies, std::string_view what, std::string_view name) {
  const auto found = std::ranges::find(policies, name, [](const T* one) { return one->name; });
  if (found != policies.end()) return **found;
  std::string names;
  for (const T* one : policies) names += (names.empty() ? "" : ", ") + std::string(one->name);
  fail("{} '{}': expected one of {}", what, name, names);
}

/// The reference configuration under an execution of that name. Throws Error beginning with `what` for another.
inline Setup reference_setup(std::string_view execution, std::string_view what = "--execution") {
  return {nullptr, &attention::kernel<attention::Flash>(), &parallel::scheme<parallel::Single>(),
          stream::contention<stream::Exclusive>(), &named(registry().executions, what, execution)};
}

}  // namespace fpf
