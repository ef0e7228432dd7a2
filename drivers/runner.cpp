// The runner of all experiments' programs.
#include <fpf/experiment/runner.hpp>

template class fpf::BasicRunner<>;
