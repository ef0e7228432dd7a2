// From --execution to the policy.
#pragma once

#include <fpf/core/error.hpp>
#include <fpf/execution/compiled.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/execution/portable.hpp>

namespace fpf::execution {

/// Calls f.template operator()<Policy>() for the execution of that name. Throws Error for another name.
template <class F>
decltype(auto) select(std::string_view name, F f) {
  if (name == Eager::name) return f.template operator()<Eager>();
  if (name == Compiled::name) return f.template operator()<Compiled>();
  if (name == Portable::name) return f.template operator()<Portable>();
  fail("--execution {}: expected eager, compiled or portable", name);
}

}  // namespace fpf::execution
