// The rows that a verdict rests on: noise and change at the same steps of the same prompts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/statistics.hpp>
#include <map>
#include <set>
#include <vector>

namespace fpf::compare::detail {

/// What the comparisons of one side have at a verdict's tap.
struct SideRows {
  std::vector<const TapDistance*> taps;
  std::vector<bool> of_repetitions;                // each of taps
  std::map<std::size_t, std::size_t> comparisons;  // with rows of a prompt, by prompt
  std::map<RowPlace, std::size_t> rows;            // by place

  void add(const TapDistance& tap, PairKind kind) {
    taps.push_back(&tap);
    of_repetitions.push_back(kind == PairKind::repetition);
    std::set<std::size_t> prompts;
    for (const RowDistance& row : tap.rows) {
      prompts.insert(row.prompt);
      ++rows[{row.prompt, row.step}];
    }
    for (const std::size_t prompt : prompts) ++comparisons[prompt];
  }

  /// Whether every comparison that has rows of the prompt, and one at least, has this one.
  bool has_all(const RowPlace& place) const {
    const auto of_prompt = comparisons.find(place.prompt);
    const auto here = rows.find(place);
    return of_prompt != comparisons.end() && here != rows.end() && here->second == of_prompt->second;
  }

  /// Whether the other side's row there has its like here: of its prompt or, where this side has none of that, of the
  /// same step in every prompt that this side has.
  bool matches(const RowPlace& place) const {
    if (comparisons.contains(place.prompt)) return has_all(place);
    return std::ranges::all_of(comparisons, [&](const auto& one) { return has_all({one.first, place.step}); });
  }
};

/// What is kept of a side.
struct KeptRows {
  std::size_t comparisons = 0;  // with such rows
  std::size_t repetitions = 0;  // of these, those between repetitions of one configuration
  std::size_t left_out = 0;     // rows that are not kept
  bool bits_differ = false, left_out_differ = false;
};

/// Keeps the rows at places that are `kept`, with their places, and the largest of each comparison and prompt.
template <class Kept>
KeptRows keep_rows(const SideRows& side, std::vector<double>& values, std::vector<RowPlace>& places,
                   std::vector<double>& levels, Kept kept) {
  KeptRows out;
  for (std::size_t c = 0; c < side.taps.size(); ++c) {
    const RowDistance* last = nullptr;
    for (const RowDistance& row : side.taps[c]->rows) {
      const RowPlace place{row.prompt, row.step};
      if (!kept(place)) {
        ++out.left_out;
        out.left_out_differ |= row[deciding] != 0 || row.bits_differ;
        continue;
      }
      values.push_back(row[deciding]);
      places.push_back(place);
      out.bits_differ |= row.bits_differ;
      if (last == nullptr || row.prompt != last->prompt)
        levels.push_back(row[deciding]);
      else
        levels.back() = std::max(levels.back(), row[deciding]);
      last = &row;
    }
    out.comparisons += last != nullptr;
    out.repetitions += last != nullptr && side.of_repetitions[c];
  }
  return out;
}

/// Gives a verdict its rows, floor, level and ratio. Where both sides have rows, those count at whose steps every
/// comparison of both sides has one: distances grow by the step, so that sides with rows at other steps (of runs whose
/// tokens diverge, or that ended early) would differ without any change. A comparison without rows of a prompt does not
/// count for it; a prompt that one side has alone is held to the steps that the other has of all of its.
inline void take_rows(Verdict& verdict, const SideRows& noise, const SideRows& signal) {
  const bool both = !noise.rows.empty() && !signal.rows.empty();
  const auto kept = [&](const RowPlace& place) { return !both || (noise.matches(place) && signal.matches(place)); };
  std::vector<double>&floors = verdict.noise_largest, &levels = verdict.signal_largest;
  const KeptRows of_noise = keep_rows(noise, verdict.noise, verdict.noise_places, floors, kept),
                 of_signal = keep_rows(signal, verdict.signal, verdict.signal_places, levels, kept);
  verdict.noise_left_out = of_noise.left_out;
  verdict.signal_left_out = of_signal.left_out;
  verdict.left_out_differ = of_signal.left_out_differ;
  verdict.noise_bits_differ = of_noise.bits_differ;
  verdict.signal_bits_differ = of_signal.bits_differ;
  verdict.noise_comparisons = of_noise.comparisons;
  verdict.noise_repetitions = of_noise.repetitions;
  verdict.signal_comparisons = of_signal.comparisons;
  verdict.signal_levels = levels.size();
  if (!floors.empty()) verdict.noise_floor = mean_of(floors);
  if (!levels.empty()) verdict.signal_level = mean_of(levels);
  if (!(verdict.noise_floor > 0) || levels.empty()) return;
  verdict.ratio = verdict.signal_level / verdict.noise_floor;
  verdict.levels_reached = static_cast<std::size_t>(
      std::ranges::count_if(levels, [&](double level) { return level / verdict.noise_floor >= verdict.threshold; }));
}

}  // namespace fpf::compare::detail
