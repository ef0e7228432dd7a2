// What every experiment's program includes: names. The runner is compiled once (runner.cpp), as are the set-ups that most
// programs run (*_setups.cpp).
#pragma once

#include <fpf/experiment/runner_declaration.hpp>
#include <fpf/experiment/variable_options.hpp>
#include <fpf/stream/exclusive.hpp>

namespace fpf {

template <class Quant, class Execution>
using Reference = Experiment<Quant, attention::Flash, parallel::Single, stream::Exclusive, Execution>;

extern template class BasicRunner<>;

}  // namespace fpf
