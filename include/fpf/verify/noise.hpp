// Evidence against honest runs: does it stand out from what they differ by, and would a change have?
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/verify/noise_scores.hpp>
#include <fpf/verify/rank_verdict.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf::verify {

/// What a user asks of a decision by noise.
struct NoiseRule {
  double threshold = 1.5;            // ratio to the honest runs' largest score from which evidence stands out
  double false_positive_rate = 0.1;  // largest rate at which honest evidence may be rejected, over both paths
  double effect = 10;                // smallest change to be found, in units of the noise
};

/// Rate at which a change of NoiseRule::effect must be found before evidence is accepted.
inline constexpr double needed_power = 0.9;

/// The honest runs that a decision needs, to reject and to accept alike. Honest evidence has the largest of n + 1
/// scores with a probability of 1 / (n + 1), on each of two paths; and n runs show a power of at most n / (n + 1).
inline std::size_t runs_needed(double false_positive_rate) {
  const double to_reject = 2 / false_positive_rate - 1, to_accept = 1 / (1 - needed_power) - 1;
  return static_cast<std::size_t>(std::ceil(std::max(to_reject, to_accept) - 1e-9));
}

/// Power shown by `found` of so many honest runs; the evidence's own counts as one in which the change was not found.
inline double power_of(std::size_t found, std::size_t runs) {
  return static_cast<double>(found) / (static_cast<double>(runs) + 1);
}
inline bool is_enough(double power) { return power >= needed_power - 1e-9; }

/// Both re-executions of one run against it.
struct Paths {
  Path decode, prefill;
};

/// One path's verdict from noise.
struct NoiseVerdict {
  RankVerdict rank;
  std::string widest;            // the signal with the largest score of the evidence
  std::size_t noise_tokens = 0;  // positions of all honest runs
  std::size_t tokens = 0;        // of the evidence

  /// Whether the evidence is too far away.
  bool stands_out() const { return rank.outcome == RankOutcome::detectable || rank.outcome == RankOutcome::zero_noise; }
  /// Whether it is as near as honest runs are, by rank and by ratio.
  bool is_near() const { return rank.outcome == RankOutcome::not_detectable || rank.outcome == RankOutcome::identical; }
};

/// Both paths' verdicts, what they rest on and what the same test makes of the honest runs themselves, each judged by
/// the others: as they are, and with a change in them.
struct NoiseTest {
  NoiseRule rule;
  NoiseVerdict decode, prefill;
  std::size_t runs = 0;              // honest ones
  std::size_t stand_out = 0;         // of them, as they are
  std::size_t found = 0;             // of them, with a change of rule.effect
  std::optional<double> findable{};  // about the smallest change that would be found with needed_power, where it is not

  bool stands_out() const { return decode.stands_out() || prefill.stands_out(); }
  bool is_near() const { return decode.is_near() && prefill.is_near(); }
  /// Of a rejection, over both paths.
  double false_positive_rate() const { return 2.0 / (static_cast<double>(runs) + 1); }
  /// Of finding a change of rule.effect.
  double power() const { return power_of(found, runs); }
};

/// What is missing for any decision; empty when nothing is.
inline std::string lacking(const NoiseTest& test) {
  const std::size_t needed = runs_needed(test.rule.false_positive_rate);
  if (test.runs < needed)
    return fmt::format("{} honest run{} here, {} are needed for a false-positive rate of {:g} and a power of {:g}",
                       test.runs, test.runs == 1 ? " is" : "s are", needed, test.rule.false_positive_rate,
                       needed_power);
  for (const NoiseVerdict* path : {&test.decode, &test.prefill})
    if (!path->rank.enough_positions())
      return fmt::format("{} positions of evidence and {} of noise are here, at least {} of each are needed",
                         path->tokens, path->noise_tokens, fewest_positions);
  return "";
}

namespace detail {

using Honest = std::vector<const Distances*>;

inline Scales pooled_scales(const Distances& evidence, Honest noise) {
  noise.push_back(&evidence);
  return scales_of(noise);
}

inline NoiseVerdict judge_path(const Distances& evidence, const Honest& noise, double threshold) {
  NoiseVerdict out;
  RankVerdict& rank = out.rank;
  rank.threshold = threshold;
  const Scales scales = pooled_scales(evidence, noise);
  int cluster = 0;  // a step of a run: runs have other prompts, so that equal steps share nothing
  for (const Distances* run : noise) {
    for (const auto& [step, score] : scores_of(*run, scales)) {
      rank.noise.push_back(score.value);
      rank.noise_clusters.push_back(cluster++);
      rank.noise_floor = std::max(rank.noise_floor, score.value);
    }
    rank.noise_bits_differ |= !run->bit_equal;
  }
  for (const auto& [step, score] : scores_of(evidence, scales)) {
    rank.signal.push_back(score.value);
    rank.signal_clusters.push_back(cluster++);
    if (out.widest.empty() || score.value > rank.signal_level) out.widest = score.signal;
    rank.signal_level = std::max(rank.signal_level, score.value);
  }
  rank.signal_bits_differ = !evidence.bit_equal;
  rank.runs = noise.size();
  verify::judge(rank);
  out.noise_tokens = rank.noise.size();
  out.tokens = rank.signal.size();
  return out;
}

/// Whether a run's largest score reaches the threshold: what standing out takes, and cheap.
inline bool reaches(const Distances& run, const Honest& noise, double threshold) {
  const Scales scales = pooled_scales(run, noise);
  double floor = 0;
  for (const Distances* one : noise) floor = std::max(floor, largest_score(*one, scales));
  const double own = largest_score(run, scales);
  return own > 0 && own >= threshold * floor;
}

inline bool stands_out(const Distances& run, const Honest& noise, double threshold) {
  return reaches(run, noise, threshold) && judge_path(run, noise, threshold).stands_out();
}

/// The honest runs on one path, each to be judged by the others.
class LeaveOneOut {
 public:
  LeaveOneOut(const std::vector<Distances>& runs, double threshold) : threshold_(threshold) {
    for (const Distances& run : runs) all_.push_back(&run);
    noise_ = scales_of(all_);
  }

  std::size_t size() const { return all_.size(); }

  /// Whether run `index` with a change of `effect` in it passes `test` against the others.
  template <class Test>
  bool passes(std::size_t index, double effect, Test test) const {
    Honest others = all_;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(index));
    return !others.empty() && test(with_effect(*all_[index], noise_, effect), others, threshold_);
  }

 private:
  Honest all_;
  Scales noise_;
  double threshold_;
};

/// How many honest runs pass `test` on one path or the other.
template <class Test>
std::size_t count_passing(const LeaveOneOut& decode, const LeaveOneOut& prefill, double effect, Test test) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < decode.size(); ++i)
    out += decode.passes(i, effect, test) || prefill.passes(i, effect, test);
  return out;
}

inline std::vector<Distances> distances_of(const std::vector<Paths>& runs, Path Paths::*path, int steps) {
  std::vector<Distances> out;
  for (const Paths& run : runs) out.push_back(verify::distances_of(run.*path, steps));
  return out;
}

}  // namespace detail

/// The test. Each position gets a score, the largest of its signals' relative L2 distances to the re-execution, each in
/// units of its median over all runs, the evidence's among them, so that honest evidence and honest runs are
/// exchangeable. Evidence stands out on a path when its scores do so both by rank (95 % interval of the AUC above 1/2,
/// by a bootstrap over positions) and by the plan's ratio (largest score at least `threshold` times the largest honest
/// one), or when honest runs differ nowhere at all. The second alone bounds the rate of false positives, whatever the
/// scores' distribution and however the positions of a run hang together: with one run's largest score as statistic,
/// the rank of the evidence among n honest runs is a conformal p-value of at least 1 / (n + 1) (Vovk, Gammerman &
/// Shafer 2005; Bates et al. 2023, Ann. Stat. 51:149). That evidence does not stand out says little unless a change
/// would have (Altman & Bland 1995, BMJ 311:485; Schuirmann 1987): the power is the share of honest runs that the same
/// test, with the others as its noise, calls too far away once a change of `effect` is in them. Only positions before
/// the evidence's `steps` count. All runs need the same signals.
inline NoiseTest judge(const Paths& evidence, const std::vector<Paths>& honest, int steps, const NoiseRule& rule) {
  NoiseTest out;
  out.rule = rule;
  out.runs = honest.size();
  const auto decode = detail::distances_of(honest, &Paths::decode, steps),
             prefill = detail::distances_of(honest, &Paths::prefill, steps);
  const auto path = [&](const Path& own, const std::vector<Distances>& runs) {
    detail::Honest noise;
    for (const Distances& run : runs) noise.push_back(&run);
    return detail::judge_path(distances_of(own, steps), noise, rule.threshold);
  };
  out.decode = path(evidence.decode, decode);
  out.prefill = path(evidence.prefill, prefill);
  const detail::LeaveOneOut a(decode, rule.threshold), b(prefill, rule.threshold);
  out.stand_out = detail::count_passing(a, b, 0, detail::stands_out);
  out.found = detail::count_passing(a, b, rule.effect, detail::stands_out);
  if (is_enough(out.power()) || !lacking(out).empty()) return out;
  for (double effect = rule.effect; effect < detail::unheard_of && !out.findable; effect *= 1.1)
    if (is_enough(power_of(detail::count_passing(a, b, effect, detail::reaches), out.runs))) out.findable = effect;
  return out;
}

}  // namespace fpf::verify
