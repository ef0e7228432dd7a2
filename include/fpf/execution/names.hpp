// The values of --execution, which are the execution policies' names.
#pragma once

#include <algorithm>
#include <array>
#include <fpf/core/error.hpp>
#include <string_view>

namespace fpf::execution::names {

inline constexpr std::string_view eager = "eager", compiled = "compiled", portable = "portable";

/// Throws Error, naming the option, for any other name.
inline void require(std::string_view name) {
  if (!std::ranges::count(std::array{eager, compiled, portable}, name))
    fail("--execution {}: expected eager, compiled or portable", name);
}

}  // namespace fpf::execution::names
