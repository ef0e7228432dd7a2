// The metrics: how far two rows are apart. A metric is a function of a pair of rows and its row of the table below:
// JSON, CSV, terminal, report and verify have it from there.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fpf/compare/distance.hpp>
#include <fpf/compare/order_statistics.hpp>
#include <fpf/compare/tap.hpp>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::compare {

/// Two rows of equal length, and the sums that metrics share, in double. For log-probabilities by token id the rows
/// hold the common ids'.
struct RowPair {
  std::span<const float> a, b;
  double aa = 0, bb = 0, ab = 0, squares = 0;  // sums of a^2, b^2, a b and (a - b)^2

  /// Rows of unequal length are compared as far as both go.
  RowPair(std::span<const float> left, std::span<const float> right)
      : a(left.first(std::min(left.size(), right.size()))), b(right.first(a.size())) {
    const auto x = map_of(a).cast<double>(), y = map_of(b).cast<double>();
    aa = x.square().sum();
    bb = y.square().sum();
    ab = (x * y).sum();
    squares = (x - y).square().sum();
  }
  std::size_t elements() const { return a.size(); }
};

/// A metric's values over the rows of a comparison.
struct RowValues {
  std::span<const double> by_row, ascending, elements;  // [rows]; elements: that each row has
  double equal = 0;                                     // the metric's value for equal rows
};

/// What sums up a metric's values. Where a metric has one statistic alone, that bears the metric's name in JSON and
/// CSV.
struct Statistic {
  std::string_view name;  // "max"
  double (*of)(const RowValues&);
};

/// A statistic, and the headings under which it is a column: of the terminal's tables by compare and by verify, and of
/// the report's. Where there is none, the table leaves it out.
struct Shown {
  Statistic statistic;
  std::string_view in_compare{}, in_verify{}, in_report{};
};

/// At most four, so that the table is a constant.
struct ShownStatistics {
  constexpr ShownStatistics(std::initializer_list<Shown> shown) : count_(shown.size()) {
    std::ranges::copy(shown, all_.begin());
  }
  constexpr std::size_t size() const { return count_; }
  constexpr const Shown& operator[](std::size_t i) const { return all_.at(i); }
  constexpr const Shown* begin() const { return all_.data(); }
  constexpr const Shown* end() const { return all_.data() + count_; }
  static constexpr std::size_t most = 4;

 private:
  std::array<Shown, most> all_{};
  std::size_t count_ = 0;
};

/// Whose rows a metric is of; any of them together.
namespace of {

inline constexpr unsigned vectors = 1u << static_cast<unsigned>(View::vectors),
                          ranked = 1u << static_cast<unsigned>(View::ranked),
                          aligned = 1u << static_cast<unsigned>(View::aligned), every = vectors | ranked | aligned;

}  // namespace of

/// How tables write a metric's values.
enum class Form : std::uint8_t { distance, cosine, share };

struct Metric {
  std::string_view name;   // in JSON and CSV
  std::string_view title;  // in sentences
  unsigned views;          // whose rows it is of: of::vectors, ...
  Form form;
  double equal;                        // its value for equal rows, and for rows without elements
  double (*distance)(const RowPair&);  // of rows that have elements
  ShownStatistics statistics;          // over the rows of a comparison
  bool decides = false;  // verdicts, matrices and figures rest on its values, their max and mean: one metric does

  constexpr bool is_of(Signal signal) const { return (views & (1u << static_cast<unsigned>(signal.view))) != 0; }
};

namespace detail {

inline double l2(const RowPair& rows) { return std::sqrt(rows.squares); }

/// L2 by the length of a, or of b where a has none.
inline double relative_l2(const RowPair& rows) {
  return rows.squares == 0 ? 0 : l2(rows) / std::sqrt(rows.aa != 0 ? rows.aa : rows.bb);
}

inline double max_abs(const RowPair& rows) {
  return (map_of(rows.a).cast<double>() - map_of(rows.b).cast<double>()).abs().maxCoeff();
}

/// Of the angle between the rows, 1 for two zero rows.
inline double cosine(const RowPair& rows) {
  if (rows.aa != 0 && rows.bb != 0) return rows.ab / std::sqrt(rows.aa * rows.bb);
  return rows.aa == rows.bb ? 1 : 0;
}

/// Fraction of elements with equal bits (so +0 and -0 are unequal; both widened from the same dtype).
inline double bit_equal(const RowPair& rows) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < rows.elements(); ++i)
    equal += std::bit_cast<std::uint32_t>(rows.a[i]) == std::bit_cast<std::uint32_t>(rows.b[i]);
  return static_cast<double>(equal) / static_cast<double>(rows.elements());
}

/// Kullback-Leibler divergence sum p ln(p / q) in nats, of log-probabilities over the same ids, both
/// renormalised over them (Kullback & Leibler 1951; scipy.stats.entropy(p, q) on the same probabilities).
inline double kl(const RowPair& rows) {
  const Eigen::ArrayXd x = map_of(rows.a).cast<double>(), y = map_of(rows.b).cast<double>();
  const auto log_sum = [](const Eigen::ArrayXd& v) { return v.maxCoeff() + std::log((v - v.maxCoeff()).exp().sum()); };
  const Eigen::ArrayXd log_p = x - log_sum(x), log_q = y - log_sum(y);
  return std::max(0.0, (log_p.exp() * (log_p - log_q)).sum());
}

}  // namespace detail

/// Statistics to choose from.
namespace statistic {

inline constexpr Statistic max{"max", [](const RowValues& v) { return v.ascending.back(); }};
/// The smallest cosine; at most 1, beyond which rounding takes it.
inline constexpr Statistic min_of_cosine{"min", [](const RowValues& v) { return std::min(1.0, v.ascending.front()); }};
inline constexpr Statistic mean{"mean", [](const RowValues& v) { return mean_of(v.ascending); }};
/// The same, added in the order of the rows.
inline constexpr Statistic mean_by_row{"mean", [](const RowValues& v) { return mean_of(v.by_row); }};
inline constexpr Statistic median{"median", [](const RowValues& v) { return quantile_of_sorted(v.ascending, 0.5); }};
inline constexpr Statistic p95{"p95", [](const RowValues& v) { return quantile_of_sorted(v.ascending, 0.95); }};
/// Mean over the elements of all rows.
inline constexpr Statistic mean_by_element{"mean", [](const RowValues& v) {
                                             double sum = 0, elements = 0;
                                             for (std::size_t i = 0; i < v.by_row.size(); ++i) {
                                               sum += v.by_row[i] * v.elements[i];
                                               elements += v.elements[i];
                                             }
                                             return elements > 0 ? sum / elements : v.equal;
                                           }};

}  // namespace statistic

// clang-format off
/// THE table: a metric a row.
inline constexpr auto metrics = std::to_array<Metric>({
    {"l2", "L2", of::every, Form::distance, 0, detail::l2,
     {{statistic::max, "max L2", "max L2", "L2 max"}, {statistic::mean, "mean L2", "", "L2 mean"},
      {statistic::median, "", "", "L2 median"}, {statistic::p95, "", "", "L2 95 %"}}, true},
    {"relative_l2", "relative L2", of::every, Form::distance, 0, detail::relative_l2,
     {{statistic::max, "", "relative"}, {statistic::mean, "relative", "", "relative L2"},
      {statistic::median}, {statistic::p95}}},
    {"max_abs", "largest difference", of::every, Form::distance, 0, detail::max_abs, {{statistic::max, "", "", "max abs"}}},
    {"cosine", "cosine", of::every, Form::cosine, 1, detail::cosine,
     {{statistic::min_of_cosine, "", "", "cosine min"}, {statistic::mean_by_row}}},
    {"bit_equal", "share of equal bits", of::every, Form::share, 1, detail::bit_equal,
     {{statistic::mean_by_element, "bits equal", "bits equal", "bits equal"}}},
    {"kl", "KL divergence", of::aligned, Form::distance, 0, detail::kl,
     {{statistic::max}, {statistic::mean}, {statistic::median}, {statistic::p95}}},
});
// clang-format on

/// A metric's place in the table. A name that the table lacks does not compile.
consteval std::size_t metric_named(std::string_view name) {
  for (std::size_t m = 0; m < metrics.size(); ++m)
    if (metrics[m].name == name) return m;
  throw std::logic_error("no such metric");
}

/// The places of a metric and of one of its statistics.
struct StatisticPlace {
  std::size_t metric = 0, statistic = 0;
  friend bool operator==(const StatisticPlace&, const StatisticPlace&) = default;
};
consteval StatisticPlace statistic_named(std::size_t metric, std::string_view name) {
  for (std::size_t s = 0; s < metrics[metric].statistics.size(); ++s)
    if (metrics[metric].statistics[s].statistic.name == name) return {metric, s};
  throw std::logic_error("no such statistic of this metric");
}

/// The metric that verdicts, matrices and figures rest on.
inline constexpr std::size_t deciding = [] {
  static_assert(std::ranges::count_if(metrics, &Metric::decides) == 1, "one metric decides verdicts");
  return static_cast<std::size_t>(std::ranges::find_if(metrics, &Metric::decides) - metrics.begin());
}();
inline constexpr StatisticPlace deciding_max = statistic_named(deciding, "max"),
                                deciding_mean = statistic_named(deciding, "mean");
inline constexpr std::string_view deciding_title = metrics[deciding].title;

/// Places of the metrics that every signal has, and of the others: in files these stand behind those.
inline std::vector<std::size_t> metrics_of_all(bool every_signal = true) {
  std::vector<std::size_t> out;
  for (std::size_t m = 0; m < metrics.size(); ++m)
    if ((metrics[m].views == of::every) == every_signal) out.push_back(m);
  return out;
}
inline std::vector<std::size_t> metrics_of_some() { return metrics_of_all(false); }

/// "l2_max"; "max_abs" where a metric has but one statistic.
inline std::string column_name(const StatisticPlace& place) {
  const Metric& metric = metrics.at(place.metric);
  if (metric.statistics.size() == 1) return std::string(metric.name);
  return std::string(metric.name).append("_").append(metric.statistics[place.statistic].statistic.name);
}

}  // namespace fpf::compare
