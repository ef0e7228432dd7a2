// What every experiment's program includes: names. The runner is compiled once (runner.cpp), as are sessions (session.cpp).
#pragma once

#include <fpf/experiment/runner_declaration.hpp>
#include <fpf/experiment/variable_options.hpp>

namespace fpf {
extern template class BasicRunner<>;
}
