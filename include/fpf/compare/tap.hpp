// What is compared: a signal at a layer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fpf::compare {

/// What is compared. Log-probabilities are compared twice: by rank, as the plan does, and by token id over
/// the ids that both sides list.
enum class Signal : std::uint8_t { hidden_states, key_vectors, logprobs_ranked, logprobs_aligned };

constexpr std::string_view name_of(Signal signal) {
  constexpr std::array<std::string_view, 4> names{"hidden_states", "key_vectors", "logprobs", "logprobs_aligned"};
  return names[static_cast<std::size_t>(signal)];
}

/// A signal at a layer. `layer` is the zero-based decoder layer, or -1 for log-probabilities.
struct Tap {
  Signal signal{};
  int layer = -1;
  friend bool operator==(const Tap&, const Tap&) = default;
};

/// "key_vectors layer 47", "logprobs".
inline std::string label_of(const Tap& tap) {
  std::string label(name_of(tap.signal));
  return tap.layer < 0 ? label : label + " layer " + std::to_string(tap.layer);
}

}  // namespace fpf::compare
