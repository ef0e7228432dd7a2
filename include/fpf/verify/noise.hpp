// Evidence against honest runs: does it stand out from what they differ by?
#pragma once

#include <fpf/compare/verdict.hpp>
#include <fpf/verify/path.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace fpf::verify {

/// One path's verdict from noise.
struct NoiseVerdict {
  compare::Verdict rank;         // its distances are the steps' scores, see score_of()
  std::string widest;            // the signal with the largest score of the evidence
  std::size_t noise_runs = 0;    // honest runs it rests on
  std::size_t noise_tokens = 0;  // their steps
  std::size_t tokens = 0;        // of the evidence
  std::size_t would_reject = 0;  // honest runs that stand out when the others are the noise
  std::size_t tried = 0;         // how many were tried so
};

namespace detail {

/// A difference where no honest row has any: larger than all scores, small enough to be reckoned with.
inline constexpr double unheard_of = 1e9;

/// The size of a signal's noise: the median relative L2 of all honest rows, their mean where most are equal, 0 where all are.
inline std::map<std::string, double> scales_of(const std::vector<const Path*>& noise) {
  std::map<std::string, std::vector<double>> rows;
  for (const Path* path : noise)
    for (const auto& tap : path->taps)
      for (const auto& row : tap.rows) rows[label_of(tap.tap)].push_back(row.relative_l2);
  std::map<std::string, double> out;
  for (const auto& [label, values] : rows) {
    const double median = compare::summary_of(values).median;
    out[label] = median > 0 ? median : compare::mean_of(values);
  }
  return out;
}

/// A position's score: the largest of all signals' relative L2 (to the row's own norm, which varies by orders of
/// magnitude between positions), each in units of its noise. Log-probabilities count by token id.
struct Score {
  double value = 0;
  std::string signal{};
};

inline std::map<int, Score> scores_of(const Path& path, const std::map<std::string, double>& scales) {
  std::map<int, Score> out;
  for (const auto& tap : path.taps) {
    if (tap.tap.signal == compare::Signal::logprobs_ranked) continue;
    const auto scale = scales.find(label_of(tap.tap));
    for (const auto& row : tap.rows) {
      const double unit = scale == scales.end() ? 0 : scale->second;
      const double distance = row.relative_l2;
      const double value = distance == 0 ? 0 : unit > 0 ? std::min(distance / unit, unheard_of) : unheard_of;
      Score& score = out[row.step];
      if (score.signal.empty() || value > score.value) score = {value, label_of(tap.tap)};
    }
  }
  return out;
}

inline NoiseVerdict judge_once(const Path& evidence, const std::vector<const Path*>& noise, double threshold) {
  NoiseVerdict out;
  compare::Verdict& rank = out.rank;
  rank.threshold = threshold;
  rank.baseline_value = "honest";
  rank.value = "evidence";
  rank.scope = compare::Scope::across_hardware;
  const auto scales = scales_of(noise);
  int cluster = 0;  // a step of a run: runs have other prompts, so that equal steps share nothing
  for (const Path* path : noise) {
    for (const auto& [step, score] : scores_of(*path, scales)) {
      rank.noise.push_back(score.value);
      rank.noise_steps.push_back(cluster++);
      rank.noise_floor = std::max(rank.noise_floor, score.value);
    }
    rank.noise_bits_differ |= !path->bit_equal();
  }
  for (const auto& [step, score] : scores_of(evidence, scales)) {
    rank.signal.push_back(score.value);
    rank.signal_steps.push_back(cluster++);
    if (out.widest.empty() || score.value > rank.signal_level) out.widest = score.signal;
    rank.signal_level = std::max(rank.signal_level, score.value);
  }
  rank.signal_bits_differ = !evidence.bit_equal();
  rank.noise_comparisons = noise.size();
  rank.signal_comparisons = 1;
  if (rank.noise_floor > 0) {
    rank.ratio = rank.signal_level / rank.noise_floor;
    rank.detectable_comparisons = *rank.ratio >= threshold ? 1 : 0;
  }
  compare::detail::add_statistics(rank);
  rank.outcome = compare::detail::outcome_of(rank);
  if (rank.outcome == compare::Outcome::zero_noise && !compare::detail::enough_steps(rank))
    rank.outcome = compare::Outcome::not_enough_data;
  rank.text = compare::detail::text_of(rank);
  out.noise_runs = noise.size();
  out.noise_tokens = rank.noise.size();
  out.tokens = rank.signal.size();
  return out;
}

}  // namespace detail

/// Rate at which an honest run stands out on one path: its largest score must exceed those of all n honest runs, and if it is
/// one of them, each of the n + 1 is as likely to have the largest. Exact whatever the scores' distribution, and however
/// the positions of a run hang together: in some runs a rounding goes another way early and everything after it differs,
/// in others nothing ever does.
inline double false_positive_rate(const NoiseVerdict& verdict) {
  return 1.0 / (static_cast<double>(verdict.noise_runs) + 1);
}

/// Whether the evidence is too far away.
inline bool stands_out(const NoiseVerdict& verdict) {
  return verdict.rank.outcome == compare::Outcome::detectable || verdict.rank.outcome == compare::Outcome::zero_noise;
}

/// Whether it calls it as near as honest runs are.
inline bool accepts(const NoiseVerdict& verdict) {
  return verdict.rank.outcome == compare::Outcome::not_detectable ||
         verdict.rank.outcome == compare::Outcome::identical;
}

/// The rule. Each position gets a score, the largest of its signals' relative L2 distances to the re-execution, each in
/// units of its median over the honest runs' positions. Evidence stands out when its scores do so both by rank (95 %
/// interval of the AUC above 1/2, by a bootstrap over positions) and by the plan's ratio (largest score at least
/// `threshold` times the largest honest one), or when honest runs differ nowhere at all. It is as near as they are when by
/// neither. Else, and with fewer than compare::fewest_steps positions on a side, the path decides nothing. `would_reject`:
/// the honest runs that stand out, each judged by the others.
inline NoiseVerdict judge(const Path& evidence, const std::vector<Path>& honest, double threshold) {
  std::vector<const Path*> all;
  for (const Path& path : honest) all.push_back(&path);
  NoiseVerdict out = detail::judge_once(evidence, all, threshold);
  for (std::size_t left_out = 0; all.size() > 1 && left_out < all.size(); ++left_out) {
    std::vector<const Path*> others = all;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left_out));
    ++out.tried;
    out.would_reject += stands_out(detail::judge_once(honest[left_out], others, threshold));
  }
  return out;
}

}  // namespace fpf::verify
