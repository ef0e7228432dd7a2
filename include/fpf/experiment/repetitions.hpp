// What the repetitions of one configuration say together: are they equal, and how long did they take.
#pragma once

#include <sys/resource.h>

#include <fpf/evidence/run_json.hpp>
#include <fpf/stream/stream_contention.hpp>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

namespace fpf {

/// What one repetition gave.
struct Repetition {
  evidence::Signals signals;
  evidence::Timing timing;           // seconds
  std::vector<stream::Span> passes;  // the prefill and every step, from start to the token read back
  Json contention;                   // from the stream policy, null when the device was ours alone

  /// Whether what was to go on beside it did.
  bool accompanied() const { return !contention.is_object() || contention.value("accompanied", true); }
};

/// A repetition that is not the first one's equal, and where.
struct Difference {
  std::size_t rep = 0;
  evidence::Place place{};
};

inline std::optional<Difference> first_difference(const std::vector<Repetition>& repetitions) {
  for (std::size_t rep = 1; rep < repetitions.size(); ++rep)
    if (const auto place = evidence::first_difference(repetitions[0].signals, repetitions[rep].signals))
      return Difference{rep, *place};
  return std::nullopt;
}

/// The run's `reproducibility`.
inline Json reproducibility_of(const std::vector<Repetition>& repetitions,
                               const std::optional<Difference>& difference) {
  auto digests = Json::array();
  for (std::size_t rep = 0; rep < repetitions.size(); ++rep) {
    Json record = {{"rep_id", rep}};
    record.update(evidence::to_json(evidence::digests_of(repetitions[rep].signals)));
    digests.push_back(std::move(record));
  }
  Json place = nullptr;
  if (difference) {
    place = evidence::to_json(difference->place);
    place["rep_id"] = difference->rep;
  }
  return {{"repetitions", repetitions.size()},
          {"bit_exact", !difference},
          {"digests", digests},
          {"first_difference", place}};
}

/// The run's `runtime`, in seconds.
inline Json runtime_of(const std::vector<Repetition>& repetitions) {
  std::vector<double> seconds;
  double prefill = 0, decode = 0;
  const auto n = static_cast<double>(repetitions.size());
  for (const auto& repetition : repetitions) {
    seconds.push_back(repetition.timing.total);
    prefill += repetition.timing.prefill / n;
    decode += repetition.timing.decode / n;
  }
  const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / n;
  double variance = 0;
  for (const double s : seconds) variance += (s - mean) * (s - mean) / n;
  return {{"seconds", seconds},
          {"mean", mean},
          {"variance", variance},
          {"prefill_seconds", prefill},
          {"decode_seconds", decode}};
}

/// Peak resident memory of the process so far, in bytes.
inline std::int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

/// --inject-fault REP,STEP,LAYER: the lowest bit of the first element of pos_-1's hidden state flips.
inline void inject_fault(evidence::Signals& signals, std::int64_t rep, const std::vector<std::int64_t>& place) {
  for (auto& layer : signals.layers)
    if (rep == place[0] && layer.layer == place[2])
      layer.hidden.bytes.at(static_cast<std::size_t>(place[1] + evidence::look_back - 1) * layer.hidden.row_bytes()) ^=
          std::byte{1};
}

}  // namespace fpf
