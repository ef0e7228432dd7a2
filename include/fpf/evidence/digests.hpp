// Digests of signals, the first difference between repetitions, and the search for values that are no numbers.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fpf/core/hash.hpp>
#include <fpf/evidence/signals.hpp>
#include <optional>
#include <span>
#include <string>
#include <tuple>

namespace fpf::evidence {

/// SHA-256, in hexadecimal, of each signal's unique rows by layer, then position, a row's fields one behind the other
/// (little-endian, own dtype); of no bytes for a signal that the model does not have.
struct Digests {
  std::array<std::string, signal_table.size()> of{};

  bool operator==(const Digests&) const = default;
  const std::string& operator[](StoredSignal signal) const { return of[static_cast<std::size_t>(signal)]; }

  /// The file's `signals_sha256`: over the hexadecimal digests in the table's order.
  std::string combined() const {
    Sha256 hash;
    for (const std::string& one : of) hash.update(one);
    return hash.hex();
  }
};

/// Calls visit(name, digest) for each signal, under the names that files use.
template <class Visit>
void for_each_digest(const Digests& digests, Visit visit) {
  for (const SignalInfo& one : signal_table) visit(one.name, digests[one.signal]);
}

/// Digests of signals that come layer by layer, ascending.
class DigestBuilder {
 public:
  /// All rows of a signal at one layer.
  template <class Columns>
  void add(StoredSignal signal, const Columns& columns) {
    Sha256& hash = hashes_[static_cast<std::size_t>(signal)];
    if (columns.size() == 1) {
      hash.update(columns.front().bytes);
      return;
    }
    const std::int64_t rows = columns.empty() ? 0 : Column(columns.front()).rows();
    for (std::int64_t row = 0; row < rows; ++row)
      for (const Column column : columns) hash.update(column.row(row));
  }
  /// To be asked once.
  Digests finish() {
    Digests out;
    std::ranges::transform(hashes_, out.of.begin(), [](Sha256& hash) { return hash.hex(); });
    return out;
  }

 private:
  std::array<Sha256, signal_table.size()> hashes_;
};

inline Digests digests_of(const Signals& signals) {
  DigestBuilder out;
  for (const SignalAt& one : every_signal(signals)) out.add(one.info->signal, one.columns);
  return out.finish();
}

/// A place in a run: decode step, absolute position, layer (-1 for log-probabilities) and signal.
struct Place {
  std::int64_t step = 0;
  std::int64_t absolute_position = 0;
  std::int64_t layer = -1;
  std::string signal{};
};

inline std::string to_string(const Place& place) {
  const std::string layer = place.layer < 0 ? "" : fmt::format(", layer {}", place.layer);
  return fmt::format("step {} (position {}){}, {}", place.step, place.absolute_position, layer, place.signal);
}

namespace detail {

inline bool finite(DType dtype, std::span<const std::byte> row) {
  if (dtype == DType::int32) return true;
  const std::size_t count = row.size() / size_of(dtype);
  const std::uint16_t half_exponent = dtype == DType::bfloat16 ? 0x7f80 : 0x7c00;
  for (std::size_t i = 0; i < count; ++i) {
    if (size_of(dtype) == 2) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, row.data() + i * 2, 2);
      if ((bits & half_exponent) == half_exponent) return false;
    } else {
      float value = 0;
      std::memcpy(&value, row.data() + i * 4, 4);
      if (!std::isfinite(value)) return false;
    }
  }
  return true;
}

inline bool equal_rows(const SignalAt& a, const SignalAt& b, std::int64_t row) {
  if (a.columns.size() != b.columns.size()) return false;
  for (std::size_t i = 0; i < a.columns.size(); ++i) {
    if (row >= a.columns[i].rows() || row >= b.columns[i].rows()) return false;
    const auto x = a.columns[i].row(row), y = b.columns[i].row(row);
    if (x.size() != y.size() || std::memcmp(x.data(), y.data(), x.size()) != 0) return false;
  }
  return true;
}

}  // namespace detail

/// What a run has of all signals, in the order in which a forward pass produces the rows of a position: by layer, then
/// the signals' turns, the head's last.
inline std::vector<SignalAt> in_pass_order(const Signals& run) {
  auto all = every_signal(run);
  std::ranges::stable_sort(
      all, {}, [](const SignalAt& one) { return std::tuple(one.layer < 0, one.layer, one.info->computed); });
  return all;
}

namespace detail {

/// first_place() of a run whose in_pass_order() is at hand.
template <class Visit>
std::optional<Place> first_place(const Signals& run, const std::vector<SignalAt>& all, Visit visit) {
  for (std::int64_t row = 0; row < run.rows(); ++row) {
    const std::int64_t decoded = row - (look_back - 1);
    for (const SignalAt& one : all) {
      const std::int64_t own = decoded + one.info->look_back - 1;
      if (own < 0) continue;
      const Place place{std::max<std::int64_t>(decoded, 0), run.prompt_tokens + decoded, one.layer,
                        std::string(one.info->name)};
      if (visit(place, one, own)) return place;
    }
  }
  return std::nullopt;
}

}  // namespace detail

/// Calls visit(place, signal, row of the signal) for every row in the order in which a forward pass produces them: by
/// position, then in_pass_order(). Returns the place of the first visit that returns true.
template <class Visit>
std::optional<Place> first_place(const Signals& run, Visit visit) {
  return detail::first_place(run, in_pass_order(run), visit);
}

/// Where two repetitions of one configuration differ first, or nothing when they are equal bit for bit.
inline std::optional<Place> first_difference(const Signals& a, const Signals& b) {
  const auto of_a = in_pass_order(a), of_b = in_pass_order(b);
  const auto difference = [](const Signals& run, const auto& own, const auto& others) {
    return detail::first_place(run, own, [&](const Place&, const SignalAt& one, std::int64_t row) {
      const auto other = std::ranges::find_if(others, [&](const SignalAt& candidate) { return candidate.at(one); });
      return other == others.end() || !detail::equal_rows(one, *other, row);
    });
  };
  auto place = difference(a, of_a, of_b);
  if (!place && of_b.size() != of_a.size()) place = difference(b, of_b, of_a);  // what b has alone
  return place;
}

/// Where a NaN or an infinity appears first in a run, or nothing.
inline std::optional<Place> first_non_finite(const Signals& signals) {
  return first_place(signals, [](const Place&, const SignalAt& one, std::int64_t row) {
    return std::ranges::any_of(one.columns,
                               [&](const Column& column) { return !detail::finite(column.dtype, column.row(row)); });
  });
}

}  // namespace fpf::evidence
