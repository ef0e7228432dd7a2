// How much of one stream's work went on while another was at work, from the time stamps of both.
#pragma once

#include <algorithm>
#include <fpf/stream/stream_contention.hpp>

namespace fpf::stream {

/// Disjoint spans in order.
using Spans = std::vector<Span>;

inline double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

inline double total_seconds(const Spans& spans) {
  double total = 0;
  for (const Span& span : spans) total += seconds(span.end - span.begin);
  return total;
}

/// Seconds in which both were going on.
inline double common_seconds(const Spans& a, const Spans& b) {
  double total = 0;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    total += std::max(0.0, seconds(std::min(x->end, y->end) - std::max(x->begin, y->begin)));
    x->end < y->end ? ++x : ++y;
  }
  return total;
}

/// Pieces of work of a load that is to be busy for `duty` of the time, as activities: a pause that is longer than four
/// times what `duty` asks for after the piece before it, or after a usual one, and some scheduling, ends one. (On a
/// busy machine a piece may take a hundred times the usual time, and the pause behind it as well.)
inline Spans activity(const Spans& pieces, double duty) {
  constexpr double scheduling = 0.02;  // seconds
  const double usual = total_seconds(pieces) / static_cast<double>(std::max<std::size_t>(pieces.size(), 1));
  Spans out;
  double before = 0;
  for (const Span& piece : pieces) {
    const double longest = 4 * std::max(before, usual) * (1 / duty - 1) + scheduling;
    if (!out.empty() && seconds(piece.begin - out.back().end) <= longest)
      out.back().end = piece.end;
    else
      out.push_back(piece);
    before = seconds(piece.end - piece.begin);
  }
  return out;
}

}  // namespace fpf::stream
