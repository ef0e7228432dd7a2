// The runner of all experiments' programs.
#include <fpf/experiment.hpp>
#include <fpf/experiment/runner.hpp>

#include "driver.hpp"

namespace fpf {

template class BasicRunner<>;
template std::vector<std::int64_t> BasicRunner<>::rank_counts<parallel::Tensor>(const std::vector<std::int64_t>&) const;
template std::vector<std::int64_t> BasicRunner<>::rank_counts<parallel::Expert>(const std::vector<std::int64_t>&) const;

}  // namespace fpf
