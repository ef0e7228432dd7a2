// Which query rows attention takes through a key-value head's positions together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fpf/core/range.hpp>
#include <fpf/portable/tasks.hpp>
#include <vector>

namespace fpf::portable {

/// Which of a rank's query heads read which of its key-value heads.
struct HeadsOfKv {
  std::int64_t group;  // query heads of one of the model's key-value heads
  std::int64_t first;  // where the rank's query heads begin among those of its key-value heads
  std::int64_t heads;  // of the rank

  Range of(std::int64_t kv) const {
    return {std::max<std::int64_t>(0, kv * group - first), std::min(heads, (kv + 1) * group - first)};
  }
};

struct QueryRow {
  std::int64_t token;  // of the pass
  std::int64_t at;     // row of [batch, tokens, heads]
};

/// f(pair, rows), in parallel, for tiles of rows that read a sequence's key-value head, `pair` of batch * kv heads; by
/// ascending token.
template <class F>
void over_query_tiles(std::int64_t batch, std::int64_t tokens, std::int64_t pairs, const HeadsOfKv& shares, F f) {
  const std::int64_t each = std::max<std::int64_t>(1, 48 / shares.group), tiles = (tokens + each - 1) / each;
  as_threads_are_free(pairs * tiles, [&](std::int64_t task) {
    const std::int64_t pair = task % pairs, kv_heads = pairs / batch, b = pair / kv_heads;
    const std::int64_t first = (tiles - 1 - task / pairs) * each;  // those that see most come first
    const Range own = shares.of(pair % kv_heads);
    std::vector<QueryRow> rows;
    for (std::int64_t token = first; token < std::min(first + each, tokens); ++token)
      for (std::int64_t head = own.begin; head < own.end; ++head)
        rows.push_back({token, (b * tokens + token) * shares.heads + head});
    f(pair, rows);
  });
}

}  // namespace fpf::portable
