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
/// attention depends on all tokens before it. Left out is what the table of signals says of each (keys of layer 0
/// depend on one token and its position alone), everything at position 0, and rows of one number: a log-probability may
/// be certainty.
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
    evidence::first_place(signals, [&](const evidence::Place& place, const evidence::SignalAt& one, std::int64_t row) {
      const auto& distinct = one.info->distinct;
      if (place.absolute_position == 0 || !distinct || place.layer < *distinct) return false;
      if (one.columns.front().width < 2) return false;
      Sha256 hash;
      hash.update(place.signal);
      bool zeros = true;
      for (const evidence::Column& column : one.columns) {
        hash.update(column.row(row));
        zeros &= std::ranges::all_of(column.row(row), [](std::byte b) { return b == std::byte{0}; });
      }
      return !zeros && visit(hash.hex(), place);
    });
  }

  std::map<std::string, std::string> seen_;
};

}  // namespace fpf::verify
