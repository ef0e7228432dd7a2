// Runs that are one run: an honest run counts once, and evidence is no noise of its own.
#pragma once

#include <algorithm>
#include <fpf/core/hash.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/verify/claim.hpp>
#include <map>
#include <string>

namespace fpf::verify {

/// Rows of runs by their bytes. Runs that answer other prompts share none: what stands behind the first layer's
/// attention depends on all tokens before it. Keys of layer 0 depend on one token and its position alone, as does
/// everything at position 0, and a single log-probability may be certainty: these are left out.
class SeenRows {
 public:
  /// Adds a run. `name` is what copy_of() calls it.
  void add(const Claim& run, const std::string& name) {
    visit(run, [&](const std::string& print, const evidence::Place& place) {
      seen_.emplace(print, fmt::format("{} at {}", name, to_string(place)));
      return false;
    });
  }

  /// Which of the added runs has a row of this one, and where both have it; empty for none.
  std::string copy_of(const Claim& run) const {
    std::string out;
    visit(run, [&](const std::string& print, const evidence::Place& place) {
      const auto found = seen_.find(print);
      if (found != seen_.end()) out = fmt::format("at {} it has the same bits as {}", to_string(place), found->second);
      return found != seen_.end();
    });
    return out;
  }

 private:
  /// Calls visit(print, place) for every row that only a copy or the same prompt repeats, until it returns true.
  template <class Visit>
  static void visit(const Claim& run, Visit visit) {
    const evidence::Signals& signals = run.signals;
    if (signals.token_ids.empty()) return;
    evidence::detail::first_place(signals, [&](const evidence::Place& place, std::size_t index, std::int64_t row) {
      if (place.absolute_position == 0) return false;
      Sha256 hash;
      hash.update(place.signal);
      if (place.signal == "logprobs") {
        if (signals.logprobs.k < 2) return false;
        hash.update(evidence::detail::row_of(signals.logprobs.ids, signals.logprobs.k, row))
            .update(evidence::detail::row_of(signals.logprobs.values, signals.logprobs.k, row));
        return visit(hash.hex(), place);
      }
      const evidence::LayerSignals& layer = signals.layers[index];
      if (place.signal == "router") return false;  // three numbers may repeat where all experts are alike
      if (place.signal == "key_vectors" && place.layer == 0) return false;
      const auto bytes = place.signal == "key_vectors" ? layer.keys.row(row) : layer.hidden.row(row);
      if (std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; })) return false;
      return visit(hash.update(bytes).hex(), place);
    });
  }

  std::map<std::string, std::string> seen_;
};

}  // namespace fpf::verify
