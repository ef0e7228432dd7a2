// What a policy states of itself: true of the type that states it, not of what derives from it.
#pragma once

#include <concepts>
#include <type_traits>

namespace fpf {

/// A statement of `Policy` about itself, as a static member of it. A type that derives from a policy and overrides a
/// function inherits the policy's statements, which are false of it then: they carry whose they are, and states() takes
/// them for nobody else's.
template <class Policy, class T>
struct Stated {
  using Speaker = Policy;
  using Value = T;
  T value;
};

/// Whether `member`, a static member of X, is a statement that X itself made: states<X>(X::member).
template <class X, class Policy, class T>
constexpr bool states(const Stated<Policy, T>&) {
  return std::same_as<X, Policy>;
}
/// A member of another type states nothing.
template <class X, class T>
constexpr bool states(const T&) {
  return false;
}

/// Whether X has a name of its own beside the policy that made `statement`: X itself, or what X derives from.
template <class X, class Policy, class T>
constexpr bool is_named_apart(const Stated<Policy, T>&) {
  return std::same_as<X, Policy> || static_cast<const void*>(&X::name) != static_cast<const void*>(&Policy::name);
}
template <class X, class T>
constexpr bool is_named_apart(const T&) {
  return true;
}

}  // namespace fpf
