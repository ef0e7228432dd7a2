// What is compared: a signal in one of its views, at a layer. Which signals there are says the table of
// evidence/signals.hpp.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <fpf/evidence/signals.hpp>
#include <string>
#include <vector>

namespace fpf::compare {

/// How a signal's rows are held against each other: vectors element by element; log-probabilities twice, by rank, as
/// the plan does, and by token id over the ids that both sides list.
enum class View : std::uint8_t { vectors, ranked, aligned };

/// The views of a stored signal, none of one that is not compared: a router's rows are verify's alone.
inline std::vector<View> views_of(const evidence::SignalInfo& info) {
  using Type = evidence::SignalField::Type;
  if (info.is_vector()) return {View::vectors};
  const auto fields = info.fields();
  const bool ids_and_values = fields.size() == 2 && fields[0].type == Type::int32 && fields[1].type == Type::float32;
  return ids_and_values ? std::vector{View::ranked, View::aligned} : std::vector<View>();
}

/// All stored signals that are compared, in the table's order.
inline std::vector<evidence::StoredSignal> compared_signals() {
  std::vector<evidence::StoredSignal> out;
  for (const evidence::SignalInfo& one : evidence::signal_table)
    if (!views_of(one).empty()) out.push_back(one.signal);
  return out;
}

/// A stored signal in one of its views.
struct Signal {
  evidence::StoredSignal stored{};
  View view = View::vectors;
  friend auto operator<=>(const Signal&, const Signal&) = default;
};

/// "key_vectors", "logprobs", "logprobs_aligned".
inline std::string name_of(Signal signal) {
  std::string name(evidence::name_of(signal.stored));
  return signal.view == View::aligned ? name + "_aligned" : name;
}

/// A signal at a layer. `layer` is the zero-based decoder layer, or -1 for those of the head.
struct Tap {
  Signal signal{};
  int layer = -1;
  friend bool operator==(const Tap&, const Tap&) = default;
};

/// "key_vectors layer 47", "logprobs".
inline std::string label_of(const Tap& tap) {
  const std::string label = name_of(tap.signal);
  return tap.layer < 0 ? label : label + " layer " + std::to_string(tap.layer);
}

}  // namespace fpf::compare
