// The vocabularies that tests use: SmolLM2's from its GGUF file and Qwen's from tiktoken ranks, both put into
// build/models by the set-up.
#pragma once

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fpf/core/mapped_file.hpp>
#include <fpf/prompt/byte_level.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

/// A model file of the set-up; its absence is an error, not a reason to skip.
inline std::filesystem::path model_file(const std::string& name) {
  const auto path = std::filesystem::path(FPF_BUILD) / "models" / name;
  if (!std::filesystem::exists(path))
    fpf::fail("{} is missing: run bash tests/run.sh, which fetches it", path.string());
  return path;
}

inline fpf::prompt::Vocabulary smollm2_vocabulary() {
  const fpf::weights::GgufFile file(model_file("SmolLM2-135M-Instruct.Q4_1.gguf"));
  return fpf::prompt::vocabulary_of(file.metadata());
}

/// Lines of "base64 rank" (OpenAI's tiktoken format), by rank.
inline std::vector<std::string> tiktoken_ranks(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::string token;
    unsigned bits = 0, count = 0;
    for (const char c : line.substr(0, line.find_first_of("= "))) {
      bits = bits << 6 | static_cast<unsigned>(alphabet.find(c));
      count += 6;
      if (count >= 8) token += static_cast<char>(bits >> (count -= 8));
    }
    std::size_t rank = 0;
    const auto digits = line.substr(line.find(' ') + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (out.size() <= rank) out.resize(rank + 1);
    out[rank] = token;
  }
  return out;
}

/// Qwen3's vocabulary: merges are recovered from ranks (the two parts that merge last when a token is built
/// from its bytes with the tokens ranked before it), the added tokens are those of Qwen3's tokenizer.json.
inline fpf::prompt::Vocabulary qwen_vocabulary() {
  const std::vector<std::string> ranks = tiktoken_ranks(fpf::MappedFile(model_file("qwen.tiktoken")).text());
  std::unordered_map<std::string, std::size_t> rank_of;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) rank_of.emplace(ranks[rank], rank);
  fpf::prompt::Vocabulary out;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    out.tokens.push_back(fpf::prompt::byte_level_encode(ranks[rank]));
    if (ranks[rank].size() == 1) continue;
    std::vector<std::string> parts;
    for (const char byte : ranks[rank]) parts.emplace_back(1, byte);
    while (parts.size() > 2) {
      std::size_t best = rank, at = 0;
      for (std::size_t i = 0; i + 1 < parts.size(); ++i)
        if (const auto found = rank_of.find(parts[i] + parts[i + 1]); found != rank_of.end() && found->second < best)
          best = found->second, at = i;
      parts[at] += parts[at + 1];
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    out.merges.push_back(fpf::prompt::byte_level_encode(parts[0]) + " " + fpf::prompt::byte_level_encode(parts[1]));
  }
  for (const char* special :
       {"endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start",
        "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"})
    out.added.push_back({.content = std::string("<|") + special + "|>", .special = true});
  for (const char* plain :
       {"<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
        "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"})
    out.added.push_back({.content = plain});
  for (auto& token : out.added) {
    token.id = static_cast<std::int32_t>(out.tokens.size());
    out.tokens.push_back(token.content);
  }
  out.pre_tokeniser = fpf::prompt::pre_tokeniser_named("qwen2");
  out.nfc = true;
  return out;
}
