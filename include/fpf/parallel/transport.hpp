// Which communicator carries a run's collectives: the one place that chooses.
#pragma once

#include <fpf/parallel/in_process.hpp>
#include <fpf/parallel/parallelism.hpp>

namespace fpf::parallel {

/// The communicators of the ranks that live in this process, in rank order.
inline std::vector<std::shared_ptr<Communicator>> local_communicators(const RankOptions& options) {
  return InProcess::make(options.size);
}

}  // namespace fpf::parallel
