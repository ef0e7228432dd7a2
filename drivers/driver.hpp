// What every experiment's program includes. The runner, the same for all policies, is compiled once
// (runner.cpp).
#pragma once

#include <fpf/experiment/runner.hpp>
#include <fpf/experiment/variable_options.hpp>

extern template class fpf::BasicRunner<>;
