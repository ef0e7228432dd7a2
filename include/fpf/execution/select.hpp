// From --execution to the policy.
#pragma once

#include <fpf/core/error.hpp>
#include <fpf/execution/compiled.hpp>
#include <fpf/execution/eager.hpp>

namespace fpf::execution {

/// Calls f.template operator()<Policy>() for the execution of that name. Throws Error for another name.
template <class F>
decltype(auto) select(std::string_view name, F f) {
  if (name == Eager::name) return f.template operator()<Eager>();
  if (name == Compiled::name) return f.template operator()<Compiled>();
  fail("--execution {}: expected eager or compiled", name);
}

}  // namespace fpf::execution
