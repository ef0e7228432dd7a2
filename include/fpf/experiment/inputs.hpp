// Prompt and tokeniser as the options ask for them.
#pragma once

#include <algorithm>
#include <fpf/core/message.hpp>
#include <fpf/core/text.hpp>
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
  std::string unknown_tokenizer;  // why the model's own could not be read, where that is so

  std::string token_text(std::int32_t id) const { return tokenizer ? tokenizer->token_text(id) : std::string(); }
};

/// What --dtype names, or the checkpoint's. Throws Error when a model does not run in that.
inline DType activation_dtype(const Options& options, const model::ModelConfig& config) {
  const DType out = options.dtype.empty() ? config.dtype : parse_dtype(options.dtype);
  if (out != DType::float32 && out != DType::float16 && out != DType::bfloat16)
    fail("the checkpoint's dtype is {}: choose float32, float16 or bfloat16 with --dtype", name_of(out));
  return out;
}

/// The tokeniser that --tokenizer names, or the model's own, or none. Where it is not needed, `unknown` is given: then
/// a tokeniser of the model's own that fpf cannot read is none, and why stands there. Throws Error when it cannot be
/// read, and when its ids do not fit the model.
inline std::optional<prompt::Tokenizer> load_tokenizer(const Options& options, const model::Checkpoint& checkpoint,
                                                       std::string* unknown = nullptr) {
  const auto own = [&]() -> std::optional<prompt::Tokenizer> {
    if (checkpoint.gguf() != nullptr)
      return prompt::Tokenizer::from_vocabulary(prompt::vocabulary_of(checkpoint.gguf()->metadata()));
    if (!checkpoint.folder().empty() && std::filesystem::exists(checkpoint.folder() / "tokenizer.json"))
      return prompt::Tokenizer::from_directory(checkpoint.folder());
    return std::nullopt;
  };
  std::optional<prompt::Tokenizer> out;
  if (!options.tokenizer.empty()) {
    out = prompt::open_tokenizer(options.tokenizer);
  } else {
    try {
      out = own();
    } catch (const Error& error) {
      if (unknown == nullptr) throw;
      *unknown = error.what();
    }
  }
  const auto vocabulary = static_cast<std::size_t>(checkpoint.config().vocab_size);
  if (out && out->vocab_size() > vocabulary)
    fail("the tokeniser has ids up to {}: the model's vocabulary ends at {}", out->vocab_size() - 1, vocabulary - 1);
  return out;
}

/// A prompt from a document; what it is damaged in is noted unless --quiet.
inline prompt::Prompt prompt_from_document(const Options& options, const Inputs& inputs,
                                           const prompt::PromptSource& source) {
  if (!inputs.tokenizer)
    fail(
        "the model {} has no tokeniser{}: name one with --tokenizer, or give --prompt-ids (neighbours: --neighbour-ids)",
        options.model,
        inputs.unknown_tokenizer.empty() ? "" : fmt::format(" that fpf knows ({})", inputs.unknown_tokenizer));
  return prompt::prompt_from_document(*inputs.tokenizer, source, [&](const std::string& damage) {
    if (options.verbosity == Verbosity::normal) tell("{}", damage);
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
  out.tokenizer = load_tokenizer(options, checkpoint, &out.unknown_tokenizer);
  if (!options.prompt_ids.empty()) {
    out.prompt = prompt::read_prompt_ids(options.prompt_ids);
    if (out.prompt.text.empty() && out.tokenizer) out.prompt.text = out.tokenizer->decode(out.prompt.token_ids);
    if (!out.unknown_tokenizer.empty() && options.verbosity == Verbosity::normal)
      tell("the model's tokeniser is not known, so that tokens stand without their text: {}", out.unknown_tokenizer);
  } else {
    out.prompt = prompt_from_document(options, out, options.prompt);
  }
  require_fit(out.prompt, checkpoint.config(), options.decode_steps);
  return out;
}

}  // namespace fpf
