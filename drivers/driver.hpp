// What every experiment's program includes. The runner, the same for all policies, is compiled once (runner.cpp), as are
// the reference configuration's set-ups.
#pragma once

#include <fpf/experiment/runner_declaration.hpp>
#include <fpf/experiment/variable_options.hpp>

#include "reference_setups.hpp"

namespace fpf {

template <class Quant, class Execution>
using Reference = Experiment<Quant, attention::Flash, parallel::Single, stream::Exclusive, Execution>;

extern template class BasicRunner<>;

}  // namespace fpf
