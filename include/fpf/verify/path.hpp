// One way of re-execution against the evidence: where bits are equal, and how far apart they are elsewhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fpf/compare/pairing.hpp>
#include <fpf/core/half.hpp>
#include <fpf/evidence/digests.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fpf::verify {

/// What became of a layer's routing.
struct RouterDistance {
  std::int64_t layer = 0;
  std::size_t rows = 0, bit_equal = 0, other_experts = 0;  // rows; of them with other experts in any place
  double max_margin = 0;                                   // largest difference of margins (router logits)
};

/// A token that the evidence chose in the re-execution's own log-probabilities.
struct TokenPlace {
  std::int64_t step = 0;
  std::int32_t token = 0, best = 0;  // the evidence's, and the re-execution's most probable
  std::optional<double> gap;  // log-probability of the best less that of the token (nats); none: beyond the top k
};

/// Evidence against a re-execution over the same tokens.
struct Path {
  std::vector<compare::TapDistance> taps;
  std::vector<RouterDistance> routers;
  std::optional<evidence::Place> first_difference;  // in the order of a forward pass
  std::vector<TokenPlace> not_best;                 // steps at which the re-execution chooses otherwise
  double seconds = 0;

  bool bit_equal() const { return !first_difference; }
};

namespace detail {

/// A row's numbers in float32, whatever their own dtype.
inline void append_values(std::vector<float>& to, const evidence::Column& column, std::int64_t row) {
  const auto bytes = column.row(row);
  for (std::size_t i = 0; i < static_cast<std::size_t>(column.width); ++i) {
    float value = 0;
    std::uint16_t half = 0;
    if (column.dtype == DType::float32) {
      std::memcpy(&value, bytes.data() + 4 * i, 4);
    } else {
      std::memcpy(&half, bytes.data() + 2 * i, 2);
      value = column.dtype == DType::bfloat16 ? float32_from_bfloat16(half) : float32_from_float16(half);
    }
    to.push_back(value);
  }
}

/// A signal's rows as compare reads them from a file.
inline evidence::Rows<float> rows_of(const evidence::SignalAt& signal) {
  evidence::Rows<float> out;
  for (std::int64_t row = 0; row < signal.columns.front().rows(); ++row) {
    for (const evidence::Column& column : signal.columns) {
      if (column.dtype != DType::int32) {
        append_values(out.values, column, row);
        continue;
      }
      const auto before = out.ids.size();
      out.ids.resize(before + static_cast<std::size_t>(column.width));
      std::memcpy(&out.ids[before], column.row(row).data(), column.row(row).size());
    }
    out.positions.push_back(static_cast<int>(row - (signal.info->look_back - 1)));
    out.starts.push_back(out.values.size());
  }
  return out;
}

inline RouterDistance router_distance(std::int64_t layer, const evidence::RouterRows& a,
                                      const evidence::RouterRows& b) {
  RouterDistance out{.layer = layer, .rows = a.margin.size()};
  const auto k = static_cast<std::size_t>(a.k);
  for (std::size_t row = 0; row < out.rows; ++row) {
    const auto at = static_cast<std::ptrdiff_t>(row * k), end = static_cast<std::ptrdiff_t>((row + 1) * k);
    const bool experts = std::equal(a.expert_ids.begin() + at, a.expert_ids.begin() + end, b.expert_ids.begin() + at);
    const bool weights = std::memcmp(&a.weights[row * k], &b.weights[row * k], k * sizeof(float)) == 0;
    out.other_experts += !experts;
    out.bit_equal += experts && weights && std::memcmp(&a.margin[row], &b.margin[row], sizeof(float)) == 0;
    out.max_margin = std::max(out.max_margin, std::abs(double{a.margin[row]} - double{b.margin[row]}));
  }
  return out;
}

/// Where the tokens that the evidence chose, and fed unless they were forced, stand in a re-execution's
/// log-probabilities.
inline std::vector<TokenPlace> not_best(const evidence::Signals& claimed, const evidence::Signals& here) {
  std::vector<TokenPlace> out;
  const auto k = static_cast<std::size_t>(here.logprobs.k);
  for (std::size_t step = 0; step < here.token_ids.size(); ++step) {
    const auto ids = std::span(here.logprobs.ids).subspan((step + 1) * k, k);
    const std::int32_t token = claimed.chosen(static_cast<std::int64_t>(step));
    if (ids.front() == token) continue;
    TokenPlace place{static_cast<std::int64_t>(step), token, ids.front(), {}};
    const auto found = std::ranges::find(ids, token);
    if (found != ids.end()) {
      const auto values = std::span(here.logprobs.values).subspan((step + 1) * k, k);
      place.gap = double{values.front()} - double{values[static_cast<std::size_t>(found - ids.begin())]};
    }
    out.push_back(place);
  }
  return out;
}

}  // namespace detail

/// Every signal at every layer, row by row, by compare's distances. Both must have the same layers, dtypes and tokens.
inline Path path_of(const evidence::Signals& claimed, const evidence::Signals& here, double seconds) {
  constexpr int all = std::numeric_limits<int>::max();
  Path out;
  out.seconds = seconds;
  out.first_difference = evidence::first_difference(claimed, here);
  out.not_best = detail::not_best(claimed, here);
  const auto others = evidence::in_pass_order(here);
  for (const evidence::SignalAt& one : evidence::in_pass_order(claimed)) {
    const auto views = compare::views_of(*one.info);
    const auto other =
        std::ranges::find_if(others, [&](const evidence::SignalAt& candidate) { return candidate.at(one); });
    if (views.empty() || other == others.end()) continue;
    const auto a = detail::rows_of(one), b = detail::rows_of(*other);
    for (const compare::View view : views)
      out.taps.push_back(compare::tap_distance({{one.info->signal, view}, static_cast<int>(one.layer)}, a, b, all,
                                               one.columns.back().dtype));
  }
  for (std::size_t i = 0; i < claimed.layers.size(); ++i) {
    const auto &a = claimed.layers[i], &b = here.layers[i];
    if (a.router && b.router) out.routers.push_back(detail::router_distance(a.layer, *a.router, *b.router));
  }
  return out;
}

}  // namespace fpf::verify
