// Documents as token ids in windows: what calibration and the measure of its loss look at.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fpf/model/checkpoint.hpp>
#include <fpf/model/tokens.hpp>
#include <fpf/prompt/document.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace fpf::checkpoint {

inline constexpr std::size_t window_tokens = 512;  // tokens that see one another, in calibration and in the measure

/// `count` windows of `length` tokens, evenly spread over a text. Throws Error when it is shorter than they
/// are together.
inline model::Windows spread_windows(std::span<const std::int32_t> ids, std::size_t count, std::size_t length,
                                     const std::string& name) {
  if (ids.size() < count * length)
    fail("{} has {} tokens: expected at least {} ({} windows of {})", name, ids.size(), count * length, count, length);
  model::Windows out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = ids.subspan(ids.size() / count * i, length);
    out.emplace_back(part.begin(), part.end());
  }
  return out;
}

/// The ids of a document (PDF or plain text) in the vocabulary of the model at `from`. Throws Error for a
/// model without tokeniser.
inline std::vector<std::int32_t> ids_of(const std::string& file, const model::Checkpoint& checkpoint,
                                        const std::string& from) {
  const bool has_folder =
      !checkpoint.folder().empty() && std::filesystem::exists(checkpoint.folder() / "tokenizer.json");
  if (checkpoint.gguf() == nullptr && !has_folder) fail("{} has no tokeniser: a document cannot be read for it", from);
  const auto tokenizer = prompt::open_tokenizer(from);
  return naming(file, [&] { return tokenizer.encode(prompt::document_text(file), false); });
}

/// `tokens` tokens in windows, the documents' shares as equal as whole windows are. Throws Error for a
/// document that is shorter than its share.
inline model::Windows windows_of(const std::vector<std::string>& documents, std::int64_t tokens,
                                 const model::Checkpoint& checkpoint, const std::string& from) {
  model::Windows out;
  const auto count = static_cast<std::size_t>(tokens) / window_tokens;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::size_t share = count * (i + 1) / documents.size() - out.size();
    std::ranges::move(spread_windows(ids_of(documents[i], checkpoint, from), share, window_tokens, documents[i]),
                      std::back_inserter(out));
  }
  return out;
}

}  // namespace fpf::checkpoint
