// Prompt and tokeniser as the options ask for them.
#pragma once

#include <algorithm>
#include <fpf/evidence/signals.hpp>
#include <fpf/experiment/options.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <fpf/prompt/prompt_file.hpp>
#include <fpf/prompt/prompt_from_document.hpp>
#include <optional>

namespace fpf {

/// What a model is fed, and the tokeniser that says what its tokens mean (absent where only ids were given).
struct Inputs {
  prompt::Prompt prompt;
  std::optional<prompt::Tokenizer> tokenizer;

  std::string token_text(std::int32_t id) const { return tokenizer ? tokenizer->token_text(id) : std::string(); }
};

/// What --dtype names, or the checkpoint's. Throws Error when a model does not run in that.
inline DType activation_dtype(const Options& options, const model::ModelConfig& config) {
  const DType out = options.dtype.empty() ? config.dtype : parse_dtype(options.dtype);
  if (out != DType::float32 && out != DType::float16 && out != DType::bfloat16)
    fail("the checkpoint's dtype is {}: choose float32, float16 or bfloat16 with --dtype", name_of(out));
  return out;
}

/// The tokeniser that --tokenizer names, or the model's own, or none. Throws Error when its ids do not fit
/// the model.
inline std::optional<prompt::Tokenizer> load_tokenizer(const Options& options, const model::Checkpoint& checkpoint) {
  std::optional<prompt::Tokenizer> out;
  if (!options.tokenizer.empty())
    out = prompt::open_tokenizer(options.tokenizer);
  else if (checkpoint.gguf() != nullptr)
    out = prompt::Tokenizer::from_vocabulary(prompt::vocabulary_of(checkpoint.gguf()->metadata()));
  else if (!checkpoint.folder().empty() && std::filesystem::exists(checkpoint.folder() / "tokenizer.json"))
    out = prompt::Tokenizer::from_directory(checkpoint.folder());
  const auto vocabulary = static_cast<std::size_t>(checkpoint.config().vocab_size);
  if (out && out->vocab_size() > vocabulary)
    fail("the tokeniser has ids up to {}: the model's vocabulary ends at {}", out->vocab_size() - 1, vocabulary - 1);
  return out;
}

/// A prompt from a document; what it is damaged in is noted unless --quiet.
inline prompt::Prompt prompt_from_document(const Options& options, const std::optional<prompt::Tokenizer>& tokenizer,
                                           const prompt::PromptSource& source) {
  if (!tokenizer) fail("the model {} has no tokeniser: name one with --tokenizer, or give --prompt-ids", options.model);
  return prompt::prompt_from_document(*tokenizer, source, [&](const std::string& damage) {
    if (options.verbosity == Verbosity::normal) fmt::print(stderr, "{}\n", damage);
  });
}

/// Throws Error when a prompt has ids the model does not know, is too short to look back over, or leaves no
/// room to decode.
inline void require_fit(const prompt::Prompt& prompt, const model::ModelConfig& config, std::int64_t decode_steps) {
  const auto length = static_cast<std::int64_t>(prompt.token_ids.size());
  if (length < evidence::look_back - 1)
    fail("the prompt has {} tokens: expected at least {}", length, evidence::look_back - 1);
  if (decode_steps > config.max_positions - length)
    fail("a prompt of {} tokens and {} decode steps do not fit into the model's {} positions", length, decode_steps,
         config.max_positions);
  for (const std::int32_t id : prompt.token_ids)
    if (id < 0 || id >= config.vocab_size)
      fail("the prompt has token id {}: the model's vocabulary ends at {}", id, config.vocab_size - 1);
}

/// Opens what --prompt-pdf, --prompt-text or --prompt-ids names.
inline Inputs load_inputs(const Options& options, const model::Checkpoint& checkpoint) {
  Inputs out;
  out.tokenizer = load_tokenizer(options, checkpoint);
  if (!options.prompt_ids.empty()) {
    out.prompt = prompt::read_prompt_ids(options.prompt_ids);
    if (out.prompt.text.empty() && out.tokenizer) out.prompt.text = out.tokenizer->decode(out.prompt.token_ids);
  } else {
    out.prompt = prompt_from_document(options, out.tokenizer, options.prompt);
  }
  require_fit(out.prompt, checkpoint.config(), options.decode_steps);
  return out;
}

}  // namespace fpf
