// Added tokens: found in the text before anything else is done to it. The rules are those of `tokenizers`
// (added_vocabulary.rs): leftmost first, longest at one place.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <fpf/core/utf8.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::prompt {

/// A set of added tokens to look for together.
class AddedTokens {
 public:
  void add(AddedToken token) {
    auto& bucket = by_first_byte_[static_cast<unsigned char>(token.content.front())];
    const auto shorter = [](std::size_t size, const AddedToken& other) { return other.content.size() < size; };
    bucket.insert(std::upper_bound(bucket.begin(), bucket.end(), token.content.size(), shorter), std::move(token));
    empty_ = false;
  }

  /// Calls visit(piece, token) for every added token (its text, a pointer) and every stretch between
  /// (nullptr), in order, until one returns false, which is returned then. With `special` off, special tokens are plain
  /// text; what they cover is still passed over as a whole.
  template <class Visit>
  bool for_each_piece(std::string_view text, bool special, Visit&& visit) const {
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size() && !empty_;) {
      const AddedToken* token = match(text.substr(at));
      if (token == nullptr) {
        ++at;
        continue;
      }
      std::size_t first = at, last = at + token->content.size();
      at = last;
      if (token->special && !special) continue;
      if (token->strip_left) first = std::max(white_space_start(text.substr(0, first)), done);
      if (token->strip_right) last += white_space_length(text.substr(last));
      if (done < first && !visit(text.substr(done, first - done), nullptr)) return false;
      if (!visit(text.substr(first, last - first), token)) return false;
      done = last;
    }
    return done >= text.size() || visit(text.substr(done), nullptr);
  }

 private:
  const AddedToken* match(std::string_view text) const {
    for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(text.front())])
      if (text.starts_with(token.content)) return &token;
    return nullptr;
  }

  static std::size_t white_space_length(std::string_view text) {
    std::size_t length = 0;
    while (length < text.size()) {
      const Utf8Step step = decode_utf8(text.substr(length));
      if (!is_white_space(step.code_point)) break;
      length += step.length;
    }
    return length;
  }

  // Where the white space at the end of `text` starts.
  static std::size_t white_space_start(std::string_view text) {
    std::size_t start = text.size();
    while (start > 0) {
      std::size_t at = start - 1;
      while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
      if (!is_white_space(decode_utf8(text.substr(at)).code_point)) break;
      start = at;
    }
    return start;
  }

  std::array<std::vector<AddedToken>, 256> by_first_byte_;  // longest first
  bool empty_ = true;
};

}  // namespace fpf::prompt
