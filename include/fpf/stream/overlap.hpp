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

/// Pieces of work that alternate with pauses of at most `longest_pause` are one activity; a longer pause ends
/// it.
inline Spans activity(const Spans& pieces, double longest_pause) {
  Spans out;
  for (const Span& piece : pieces)
    if (!out.empty() && seconds(piece.begin - out.back().end) <= longest_pause)
      out.back().end = piece.end;
    else
      out.push_back(piece);
  return out;
}

}  // namespace fpf::stream
