// Scores of evidence against those of honest runs: by rank, by ratio, or by neither.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fpf/compare/statistics.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::verify {

/// Fewest positions on each side from which a verdict by rank is given.
inline constexpr std::size_t fewest_positions = 5;

/// Whether evidence can be told from honest runs.
enum class RankOutcome : std::uint8_t {
  not_enough_data,
  identical,   // no difference at all
  zero_noise,  // honest runs differ nowhere
  detectable,  // by the ratio and by rank
  ratio_only,
  rank_only,
  not_detectable
};

constexpr std::string_view name_of(RankOutcome outcome) {
  constexpr std::array<std::string_view, 7> names{"not enough data", "identical",           "noise floor is zero",
                                                  "detectable",      "detectable by ratio", "detectable by rank",
                                                  "not detectable"};
  return names.at(static_cast<std::size_t>(outcome));
}

/// The positions' scores of one path, and what they come to.
struct RankVerdict {
  RankOutcome outcome{};
  std::string text;                                  // one sentence
  std::vector<double> noise, signal;                 // of honest runs and of the evidence, position by position
  std::vector<int> noise_clusters, signal_clusters;  // of the bootstrap: each position one of its own
  std::size_t runs = 0;                              // honest ones
  bool noise_bits_differ = false, signal_bits_differ = false;
  double threshold = 1.5;
  double noise_floor = 0, signal_level = 0;  // largest scores
  std::optional<double> ratio;               // of them; none where the floor is zero
  std::optional<double> auc, auc_low, auc_high;

  bool enough_positions() const {
    const auto distinct = [](const std::vector<int>& all) { return std::set(all.begin(), all.end()).size(); };
    return distinct(noise_clusters) >= fewest_positions && distinct(signal_clusters) >= fewest_positions;
  }
  /// The 95 % interval of the AUC lies above chance.
  bool above_chance() const { return auc_low && *auc_low > 0.5; }
  bool above_threshold() const { return ratio && *ratio >= threshold; }
};

namespace detail {

inline RankOutcome rank_outcome(const RankVerdict& verdict) {
  const bool differs = std::ranges::any_of(verdict.signal, [](double d) { return d != 0; }) ||
                       (verdict.signal_bits_differ && !verdict.noise_bits_differ);
  if (verdict.noise.empty() || verdict.signal.empty()) return RankOutcome::not_enough_data;
  if (verdict.noise_floor == 0 && !differs) return RankOutcome::identical;
  if (!verdict.enough_positions()) return RankOutcome::not_enough_data;
  if (verdict.noise_floor == 0) return RankOutcome::zero_noise;
  const bool ratio = verdict.above_threshold(), rank = verdict.above_chance();
  if (ratio && rank) return RankOutcome::detectable;
  if (ratio) return RankOutcome::ratio_only;
  return rank ? RankOutcome::rank_only : RankOutcome::not_detectable;
}

inline std::string rank_text(const RankVerdict& verdict) {
  const std::string basis = fmt::format("{} positions against {} of {} honest run{}", verdict.signal.size(),
                                        verdict.noise.size(), verdict.runs, verdict.runs == 1 ? "" : "s");
  switch (verdict.outcome) {
    case RankOutcome::not_enough_data:
      return fmt::format("not enough data: {}, at least {} are needed of each", basis, fewest_positions);
    case RankOutcome::identical:
      return (verdict.signal_bits_differ ? "no difference but in bits, which noise has too: "
                                         : "no difference at all: ") +
             basis;
    case RankOutcome::zero_noise:
      return "noise floor is zero: any difference is detectable; " + basis;
    default:
      break;
  }
  const std::string area = verdict.auc_low ? fmt::format("AUC {:.3f}, 95 % interval {:.3f} to {:.3f}", *verdict.auc,
                                                         *verdict.auc_low, *verdict.auc_high)
                                           : "AUC without an interval";
  return fmt::format("{}: {:.3g} times the noise floor, {:g} is the threshold; {}; {}", name_of(verdict.outcome),
                     *verdict.ratio, verdict.threshold, area, basis);
}

}  // namespace detail

/// From the scores to the outcome.
inline void judge(RankVerdict& verdict) {
  if (verdict.noise_floor > 0) verdict.ratio = verdict.signal_level / verdict.noise_floor;
  if (!verdict.noise.empty() && !verdict.signal.empty()) {
    const compare::RocSample sample({verdict.noise, verdict.noise_clusters}, {verdict.signal, verdict.signal_clusters});
    verdict.auc = sample.auc();
    if (const auto interval = verdict.enough_positions() ? compare::bootstrap_auc(sample) : std::nullopt) {
      verdict.auc_low = interval->low;
      verdict.auc_high = interval->high;
    }
  }
  verdict.outcome = detail::rank_outcome(verdict);
  verdict.text = detail::rank_text(verdict);
}

}  // namespace fpf::verify
