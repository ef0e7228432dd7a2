// Digests of signals, the first difference between repetitions, and the search for values that are no numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/core/half.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/evidence/signals.hpp>
#include <optional>
#include <string>

namespace fpf::evidence {

/// SHA-256, in hexadecimal, of each signal's unique rows by layer, then position (little-endian, own dtype).
/// Log-probabilities: a row's int32 ids, then its float32 values. Router: int32 ids, float32 weights, float32 margin.
struct Digests {
  std::string hidden_states;
  std::string key_vectors;
  std::string logprobs;
  std::string router;  // of no bytes for models without experts

  bool operator==(const Digests&) const = default;

  /// The file's `signals_sha256`: over the four hexadecimal digests in the order above.
  std::string combined() const {
    return Sha256().update(hidden_states).update(key_vectors).update(logprobs).update(router).hex();
  }
};

namespace detail {
template <class T>
std::span<const std::byte> row_of(const std::vector<T>& values, std::int64_t width, std::int64_t row) {
  return std::as_bytes(
      std::span(values).subspan(static_cast<std::size_t>(row * width), static_cast<std::size_t>(width)));
}
}  // namespace detail

/// Digests of signals that come layer by layer, ascending, the log-probabilities at any time.
class DigestBuilder {
 public:
  void add(const LayerSignals& layer) {
    hidden_.update(layer.hidden.bytes);
    keys_.update(layer.keys.bytes);
    if (!layer.router) return;
    const RouterRows& rows = *layer.router;
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(rows.margin.size()); ++row)
      router_.update(detail::row_of(rows.expert_ids, rows.k, row))
          .update(detail::row_of(rows.weights, rows.k, row))
          .update(detail::row_of(rows.margin, 1, row));
  }
  void add(const LogProbRows& top) {
    for (std::int64_t row = 0; top.k != 0 && row < static_cast<std::int64_t>(top.ids.size()) / top.k; ++row)
      logprobs_.update(detail::row_of(top.ids, top.k, row)).update(detail::row_of(top.values, top.k, row));
  }
  /// To be asked once.
  Digests finish() { return {hidden_.hex(), keys_.hex(), logprobs_.hex(), router_.hex()}; }

 private:
  Sha256 hidden_, keys_, logprobs_, router_;
};

inline Digests digests_of(const Signals& signals) {
  DigestBuilder out;
  for (const LayerSignals& layer : signals.layers) out.add(layer);
  out.add(signals.logprobs);
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

/// Calls visit(place, index, row) for every row in the order in which a forward pass produces them: by position, then
/// layer (keys, router, hidden), log-probabilities last. Stops at the first visit that returns true.
template <class Visit>
std::optional<Place> first_place(const Signals& signals, Visit visit) {
  for (std::int64_t row = 0; row < signals.rows(); ++row) {
    const std::int64_t decoded = row - (look_back - 1);
    Place place{std::max<std::int64_t>(decoded, 0), signals.prompt_tokens + decoded};
    for (std::size_t index = 0; index < signals.layers.size(); ++index) {
      place.layer = signals.layers[index].layer;
      for (const char* signal : {"key_vectors", "router", "hidden_states"}) {
        place.signal = signal;
        if (visit(place, index, row)) return place;
      }
    }
    place.layer = -1;
    place.signal = "logprobs";
    if (visit(place, 0, row)) return place;
  }
  return std::nullopt;
}

template <class A>
bool equal_bytes(std::span<const A> a, std::span<const A> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

inline bool router_rows_equal(const LayerSignals& a, const LayerSignals& b, std::int64_t row) {
  if (!a.router || !b.router || row < look_back - 1) return a.router.has_value() == b.router.has_value();
  const std::int64_t index = row - (look_back - 1);
  return equal_bytes(row_of(a.router->expert_ids, a.router->k, index),
                     row_of(b.router->expert_ids, b.router->k, index)) &&
         equal_bytes(row_of(a.router->weights, a.router->k, index), row_of(b.router->weights, b.router->k, index)) &&
         equal_bytes(row_of(a.router->margin, 1, index), row_of(b.router->margin, 1, index));
}

inline bool finite(DType dtype, std::span<const std::byte> row) {
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

}  // namespace detail

/// Where two repetitions of one configuration differ first, or nothing when they are equal bit for bit.
inline std::optional<Place> first_difference(const Signals& a, const Signals& b) {
  return detail::first_place(a, [&](const Place& place, std::size_t index, std::int64_t row) {
    if (place.signal == "logprobs")
      return !detail::equal_bytes(detail::row_of(a.logprobs.ids, a.logprobs.k, row),
                                  detail::row_of(b.logprobs.ids, b.logprobs.k, row)) ||
             !detail::equal_bytes(detail::row_of(a.logprobs.values, a.logprobs.k, row),
                                  detail::row_of(b.logprobs.values, b.logprobs.k, row));
    const LayerSignals &x = a.layers[index], &y = b.layers[index];
    if (place.signal == "router") return !detail::router_rows_equal(x, y, row);
    return place.signal == "key_vectors" ? !detail::equal_bytes(x.keys.row(row), y.keys.row(row))
                                         : !detail::equal_bytes(x.hidden.row(row), y.hidden.row(row));
  });
}

/// Where a NaN or an infinity appears first in a run, or nothing.
inline std::optional<Place> first_non_finite(const Signals& signals) {
  return detail::first_place(signals, [&](const Place& place, std::size_t index, std::int64_t row) {
    if (place.signal == "logprobs")
      return !detail::finite(DType::float32, detail::row_of(signals.logprobs.values, signals.logprobs.k, row));
    const LayerSignals& layer = signals.layers[index];
    if (place.signal == "router") {
      const std::int64_t decoded = row - (look_back - 1);
      return layer.router && decoded >= 0 &&
             (!detail::finite(DType::float32, detail::row_of(layer.router->weights, layer.router->k, decoded)) ||
              !detail::finite(DType::float32, detail::row_of(layer.router->margin, 1, decoded)));
    }
    const VectorRows& rows = place.signal == "key_vectors" ? layer.keys : layer.hidden;
    return !detail::finite(rows.dtype, rows.row(row));
  });
}

}  // namespace fpf::evidence
