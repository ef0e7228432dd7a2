// Byte pair encoding of one piece of text: the merge table and the merging.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

namespace fpf::prompt {

/// (left, right) -> (rank, merged), an open-addressing table: one cache line per look-up.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank;    // lower merges first
    std::int32_t merged;  // the token that replaces the pair
  };

  explicit MergeTable(std::size_t count = 0) {
    std::size_t size = 16;
    while (size < 2 * count) size *= 2;
    slots_.resize(size);
  }

  /// Adds at most as many pairs as were announced; of a repeated pair the last stands, as in `tokenizers`.
  void insert(std::int32_t left, std::int32_t right, Merge merge) {
    Slot& slot = slots_[place(key(left, right))];
    slot = {key(left, right), merge};
  }

  std::optional<Merge> find(std::int32_t left, std::int32_t right) const {
    const Slot& slot = slots_[place(key(left, right))];
    if (slot.key == free) return std::nullopt;
    return slot.merge;
  }

 private:
  static constexpr std::uint64_t free = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = free;
    Merge merge{};
  };

  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t place(std::uint64_t pair) const {
    std::uint64_t hash = pair * 0x9e3779b97f4a7c15u;  // Fibonacci hashing
    hash ^= hash >> 32;
    std::size_t i = static_cast<std::size_t>(hash) & (slots_.size() - 1);
    while (slots_[i].key != free && slots_[i].key != pair) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  std::vector<Slot> slots_;
};

/// Merges a piece's tokens, lowest rank first and leftmost among equals, in O(n log n) for n tokens: a linked
/// list of tokens and a queue of candidate merges, some of them stale. Keeps its buffers from piece to piece.
class Merger {
 public:
  explicit Merger(const MergeTable& table) : table_(&table) {}

  /// Merges `tokens` in place.
  void operator()(std::vector<std::int32_t>& tokens) {
    const std::size_t count = tokens.size();
    if (count < 2) return;
    previous_.resize(count);
    next_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      previous_[i] = i - 1;  // wraps to `none` at the start
      next_[i] = i + 1 < count ? i + 1 : none;
    }
    for (std::size_t i = 0; i + 1 < count; ++i) propose(tokens, i);
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const std::size_t left = best.left, right = next_[left];
      if (tokens[left] == gone || right == none) continue;
      const auto merge = table_->find(tokens[left], tokens[right]);
      if (!merge || merge->rank != best.rank) continue;  // a neighbour has merged since
      tokens[left] = merge->merged;
      tokens[right] = gone;
      next_[left] = next_[right];
      if (next_[left] != none) previous_[next_[left]] = left;
      if (previous_[left] != none) propose(tokens, previous_[left]);
      propose(tokens, left);
    }
    std::erase(tokens, gone);
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};
  static constexpr std::int32_t gone = -1;
  struct Candidate {
    std::int32_t rank;
    std::size_t left;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };

  void propose(const std::vector<std::int32_t>& tokens, std::size_t left) {
    if (next_[left] == none) return;
    if (const auto merge = table_->find(tokens[left], tokens[next_[left]])) queue_.push({merge->rank, left});
  }

  const MergeTable* table_;
  std::vector<std::size_t> previous_, next_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
};

}  // namespace fpf::prompt
