// The runner of all experiments' programs.
#include <fpf/experiment/runner.hpp>

#include "compiled.hpp"
#include "driver.hpp"

template class fpf::BasicRunner<>;
