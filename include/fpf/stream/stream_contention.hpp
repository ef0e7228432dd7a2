// The contract of contention policies: what else the device does while the measured run goes on.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <string_view>

namespace fpf::stream {

template <class S>
concept HasName = requires {
  { S::name } -> std::convertible_to<std::string_view>;
};
template <class S>
concept HasLoad = requires(S& s) {
  { s.start() } -> std::same_as<void>;
  { s.stop() } -> std::same_as<nlohmann::ordered_json>;
};

/// A contention policy; one object a configuration.
///   name      "exclusive", "contended"
///   start()   called before a repetition begins
///   stop()    called after it ended; what happened beside it, for the run's record (null: nothing to say). Throws
///             Error when the load did not do what the experiment rests on.
template <class S>
concept StreamContention = HasName<S> && HasLoad<S>;

/// Fails to compile with a sentence for every part that a policy lacks.
template <class S>
struct Require {
  static_assert(HasName<S>, "fpf: a contention policy needs `static constexpr std::string_view name`");
  static_assert(HasLoad<S>, "fpf: a contention policy needs `void start()` and `nlohmann::ordered_json stop()`");
};

}  // namespace fpf::stream
