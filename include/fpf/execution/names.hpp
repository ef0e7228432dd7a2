// The values of --execution: the names of the execution policies, which these take from here.
#pragma once

#include <algorithm>
#include <array>
#include <fpf/core/error.hpp>
#include <fpf/core/text.hpp>
#include <string_view>

namespace fpf::execution::names {

inline constexpr std::string_view eager = "eager", compiled = "compiled", portable = "portable";
inline constexpr std::array all{eager, compiled, portable};

/// Throws Error, naming the option, for any other name.
inline void require(std::string_view name) {
  if (std::ranges::find(all, name) == all.end()) fail("--execution {}: expected {}", name, listed(all));
}

}  // namespace fpf::execution::names
