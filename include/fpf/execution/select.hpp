// From --execution to the policy.
#pragma once

#include <fpf/execution/names.hpp>
#include <fpf/policies.hpp>

namespace fpf::execution {

/// Calls f.template operator()<Policy>() for the execution of that name. Throws Error for another name.
template <class F>
decltype(auto) select(std::string_view name, F f) {
  names::require(name);
  if (name == names::eager) return f.template operator()<Eager>();
  if (name == names::compiled) return f.template operator()<Compiled>();
  return f.template operator()<Portable>();
}

}  // namespace fpf::execution
