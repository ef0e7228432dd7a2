// A byte-level BPE vocabulary, as tokenizer.json and GGUF files give it.
#pragma once

#include <cstdint>
#include <fpf/prompt/pre_tokeniser.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fpf::prompt {

/// Far above any vocabulary; keeps a lying id or count from taking the memory.
inline constexpr std::int64_t most_tokens = 1 << 22;

/// A token that is found in the text before BPE runs. The flags are those of tokenizer.json.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;      // as it stands in the text, not byte-level encoded
  bool special = false;     // plain text where special tokens are not looked for
  bool normalised = false;  // looked for after normalisation
  bool strip_left = false;  // takes the white space before it along
  bool strip_right = false;
};

/// What a tokeniser's post-processor puts around a text.
struct Surrounding {
  std::vector<std::int32_t> before, after;
  std::string unknown;  // why that is not known: "unsupported post-processor X ..."; empty: it is
};

/// Everything a Tokenizer is made of. Sources: tokenizer.json of the `tokenizers` package, tokenizer.ggml.*
/// of GGUF.
struct Vocabulary {
  std::vector<std::string> tokens;  // by id, byte-level encoded, added tokens as they are; empty: no such id
  std::vector<std::string> merges;  // "left right" in byte-level encoding, the first merged first
  std::vector<AddedToken> added;
  PreTokeniser pre_tokeniser;
  bool nfc = false;                          // the text is brought to normalisation form C first
  bool ignore_merges = false;                // a piece that is a token needs no merges (Llama 3)
  std::optional<std::string> unknown_token;  // for a byte the vocabulary lacks; without one the byte is dropped
  bool fuse_unknown = false;                 // neighbouring unknown bytes give one token
  std::optional<std::int32_t> bos_id, eos_id;
  Surrounding surrounding;
  std::string chat_template;  // Jinja source; empty if there is none

  // What a chat template may name: bos_token, eos_token, ... -> their text; and of those names the ones that the files
  // leave to a class which is not known here.
  std::map<std::string, std::string> named_tokens;
  std::vector<std::string> unknown_names;
};

}  // namespace fpf::prompt
