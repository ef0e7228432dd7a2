// Statistics of distances: separation of signal from noise, run times. Each function gives its formula and source;
// tests check them against numpy, scipy, scikit-learn and pingouin.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <cstdint>
#include <fpf/compare/order_statistics.hpp>
#include <fpf/compare/permutation.hpp>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <vector>

namespace fpf::compare {

/// Noise and signal distances in one ascending list, so that areas under the ROC curve take one pass for any
/// weights.
class RocSample {
 public:
  RocSample(const Sample& noise, const Sample& signal) {
    std::map<int, std::size_t> index;
    for (const auto* sample : {&noise, &signal})
      for (const int cluster : sample->clusters) index.emplace(cluster, 0);
    for (std::size_t next = 0; auto& [cluster, position] : index) position = next++;
    clusters_ = index.size();
    for (const auto* sample : {&noise, &signal})
      for (std::size_t i = 0; i < sample->values.size(); ++i)
        points_.push_back({sample->values[i], index[sample->clusters[i]], sample == &signal});
    std::ranges::sort(points_, {}, &Point::value);
    if (clusters_ * clusters_ < 8 * points_.size()) count_wins();
  }

  std::size_t clusters() const { return clusters_; }

  /// P(signal > noise) + P(signal = noise) / 2: the area under the ROC curve, Mann & Whitney's U / (n m)
  /// (Hanley & McNeil 1982; scikit-learn's roc_auc_score). `weights`: how often each cluster counts.
  /// Nothing when the weights leave one side empty.
  std::optional<double> auc(std::span<const std::uint32_t> weights) const {
    if (!wins_.empty()) return auc_of_wins(weights);
    double below = 0, wins = 0, signals = 0;  // noise below the current value; U; weight of all signals
    for (std::size_t i = 0; i < points_.size();) {
      double tied_noise = 0, tied_signal = 0;
      const double value = points_[i].value;
      for (; i < points_.size() && points_[i].value == value; ++i)
        (points_[i].signal ? tied_signal : tied_noise) += weights[points_[i].cluster];
      wins += tied_signal * (below + tied_noise / 2);
      below += tied_noise;
      signals += tied_signal;
    }
    if (below == 0 || signals == 0) return {};
    return wins / (below * signals);
  }

  std::optional<double> auc() const { return auc(std::vector<std::uint32_t>(clusters_, 1)); }

  /// Area under the ROC curve left of false-positive rate `limit`, standardised so that chance is 0.5 and
  /// perfection 1 (McClish 1989, Medical Decision Making 9:190; scikit-learn's roc_auc_score with max_fpr).
  std::optional<double> partial_auc(double limit) const {
    double noises = 0, signals = 0;
    for (const Point& point : points_) (point.signal ? signals : noises) += 1;
    if (noises == 0 || signals == 0) return {};
    double fpr = 0, tpr = 0, area = 0;
    for (std::size_t i = points_.size(); i > 0 && fpr < limit;) {  // thresholds from the largest distance down
      double next_fpr = fpr, next_tpr = tpr;
      const double value = points_[i - 1].value;
      for (; i > 0 && points_[i - 1].value == value; --i)
        (points_[i - 1].signal ? next_tpr : next_fpr) += 1 / (points_[i - 1].signal ? signals : noises);
      if (next_fpr > limit) {
        next_tpr = tpr + (next_tpr - tpr) * (limit - fpr) / (next_fpr - fpr);
        next_fpr = limit;
      }
      area += (next_fpr - fpr) * (tpr + next_tpr) / 2;
      fpr = next_fpr;
      tpr = next_tpr;
    }
    const double chance = limit * limit / 2;
    return (1 + (area - chance) / (limit - chance)) / 2;
  }

 private:
  struct Point {
    double value;
    std::size_t cluster;
    bool signal;
  };

  /// Of clusters of many rows: wins of each one's signal over each one's noise, so that a draw is a quadratic form.
  void count_wins() {
    wins_.resize(clusters_ * clusters_);
    noises_.resize(clusters_);
    signals_.resize(clusters_);
    std::vector<double> tied(clusters_);
    for (std::size_t i = 0, end = 0; i < points_.size(); i = end) {
      std::ranges::fill(tied, 0.0);
      for (; end < points_.size() && points_[end].value == points_[i].value; ++end)
        if (!points_[end].signal) tied[points_[end].cluster] += 1;
      for (std::size_t p = i; p < end; ++p) {
        if (!points_[p].signal) continue;
        signals_[points_[p].cluster] += 1;
        double* row = &wins_[points_[p].cluster * clusters_];
        for (std::size_t c = 0; c < clusters_; ++c) row[c] += noises_[c] + tied[c] / 2;
      }
      for (std::size_t c = 0; c < clusters_; ++c) noises_[c] += tied[c];
    }
  }

  std::optional<double> auc_of_wins(std::span<const std::uint32_t> weights) const {
    const auto n = static_cast<Eigen::Index>(clusters_);
    const Eigen::VectorXd weight =
        Eigen::Map<const Eigen::Array<std::uint32_t, Eigen::Dynamic, 1>>(weights.data(), n).cast<double>();
    const Eigen::Map<const Eigen::MatrixXd> by_noise(wins_.data(), n, n);  // a column is a cluster's signal
    const double noises = weight.dot(Eigen::Map<const Eigen::VectorXd>(noises_.data(), n)),
                 signals = weight.dot(Eigen::Map<const Eigen::VectorXd>(signals_.data(), n)),
                 wins = weight.dot(by_noise * weight);
    if (noises == 0 || signals == 0) return {};
    return wins / (noises * signals);
  }

  std::size_t clusters_ = 0;
  std::vector<Point> points_;
  std::vector<double> wins_, noises_, signals_;  // [clusters, clusters], and rows by cluster; or empty
};

struct Interval {
  double low = 0, high = 0;
};

/// The expanded 95 % percentile interval of resampled values of n clusters: from quantile q to 1 - q with
/// q = Phi(-sqrt(n / (n - 1)) t_{n-1, 0.975}), since the 2.5 % and 97.5 % quantiles of Efron (1979) are too
/// narrow for few clusters (Hesterberg 2015, Am. Stat. 69:371): where there is chance alone, those of 5
/// clusters lie above it in 6 to 7 % of all cases, these in 3 %.
inline Interval percentile_interval(std::vector<double> resampled, std::size_t clusters) {
  const auto n = static_cast<double>(clusters);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 0.975);
  const double q = boost::math::cdf(boost::math::normal(), -std::sqrt(n / (n - 1)) * t);
  std::ranges::sort(resampled);
  return {quantile_of_sorted(resampled, q), quantile_of_sorted(resampled, 1 - q)};
}

/// 95 % interval of the AUC by the cluster bootstrap: units (prompts, or steps), not rows, are drawn with replacement,
/// since the rows of one unit share their inputs and are not independent (Davison & Hinkley 1997, 3.8; Field
/// & Welsh 2007). Units are taken as independent of one another. Draws in which one side is empty are drawn
/// again. Where no draw overlaps both ends are 1: the samples do not overlap, not a certainty beyond them.
/// Nothing for fewer than two clusters. Deterministic.
inline std::optional<Interval> bootstrap_auc(const RocSample& sample, std::size_t draws = 2000) {
  const std::size_t clusters = sample.clusters();
  if (clusters < 2 || !sample.auc()) return {};
  std::mt19937_64 generator(20250101);
  std::vector<double> areas;
  std::vector<std::uint32_t> weights(clusters);
  for (std::size_t tries = 0; areas.size() < draws && tries < 10 * draws; ++tries) {
    std::ranges::fill(weights, 0u);
    for (std::size_t i = 0; i < clusters; ++i) ++weights[generator() % clusters];
    if (const auto area = sample.auc(weights)) areas.push_back(*area);
  }
  if (areas.size() < draws) return {};
  return percentile_interval(std::move(areas), clusters);
}

/// Hedges' g: difference of the means over the pooled standard deviation (n - 1), times 1 - 3 / (4 (n + m) -
/// 9) against small-sample bias (Hedges 1981, J. Educ. Stat. 6:107; pingouin's compute_effsize). Positive
/// when signal is larger. Nothing with fewer than two values on a side or without spread.
inline std::optional<double> hedges_g(std::span<const double> noise, std::span<const double> signal) {
  if (noise.size() < 2 || signal.size() < 2) return {};
  const double n = static_cast<double>(noise.size()), m = static_cast<double>(signal.size());
  const double pooled = ((n - 1) * variance_of(noise, 1) + (m - 1) * variance_of(signal, 1)) / (n + m - 2);
  if (!(pooled > 0)) return {};
  return (mean_of(signal) - mean_of(noise)) / std::sqrt(pooled) * (1 - 3 / (4 * (n + m) - 9));
}

struct TTest {
  double t = 0, degrees = 0, p_value = 1;
};

/// Welch's t-test of equal means without equal variances, two-sided, degrees of freedom after Welch and
/// Satterthwaite (Welch 1947, Biometrika 34:28; scipy.stats.ttest_ind(equal_var=False)). Nothing with fewer
/// than two values on a side or without spread on both.
inline std::optional<TTest> welch_test(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2 || b.size() < 2) return {};
  const double n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double va = variance_of(a, 1) / n, vb = variance_of(b, 1) / m;
  if (!(va + vb > 0)) return {};
  TTest out;
  out.t = (mean_of(a) - mean_of(b)) / std::sqrt(va + vb);
  out.degrees = (va + vb) * (va + vb) / (va * va / (n - 1) + vb * vb / (m - 1));
  const boost::math::students_t distribution(out.degrees);
  out.p_value = 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(out.t)));
  return out;
}

}  // namespace fpf::compare
