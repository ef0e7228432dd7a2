// Prompts and tokeniser as the options ask for them.
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
  std::vector<prompt::Prompt> prompts;  // at least one; of one length, no two alike
  Json documents;                       // that they are drawn over, where these are several: [{"name", "sha256"}]
  std::optional<prompt::Tokenizer> tokenizer;
  std::string unknown_tokenizer;  // why the model's own could not be read, where that is so

  std::string token_text(std::int32_t id) const { return tokenizer ? tokenizer->token_text(id) : std::string(); }
  /// Tokens of each prompt.
  std::size_t prompt_tokens() const { return prompts.front().token_ids.size(); }
  std::vector<std::string> prompt_digests() const {
    std::vector<std::string> out;
    for (const prompt::Prompt& one : prompts) out.push_back(one.sha256);
    return out;
  }
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

/// The tokeniser that documents are read with. Throws Error where there is none.
inline const prompt::Tokenizer& tokenizer_for_documents(const Options& options, const Inputs& inputs) {
  if (!inputs.tokenizer)
    fail(
        "the model {} has no tokeniser{}: name one with --tokenizer, or give --prompt-ids (neighbours: --neighbour-ids)",
        options.model,
        inputs.unknown_tokenizer.empty() ? "" : fmt::format(" that fpf knows ({})", inputs.unknown_tokenizer));
  return *inputs.tokenizer;
}

/// What a document is damaged in is noted unless --quiet.
inline auto note_damage(Verbosity verbosity) {
  return [verbosity](const std::string& damage) {
    if (verbosity == Verbosity::normal) tell("{}", damage);
  };
}

/// A prompt of a document, from a byte of its text on.
inline prompt::Prompt prompt_from_document(const Options& options, const Inputs& inputs,
                                           const prompt::PromptSource& source, std::size_t offset = 0) {
  return prompt::prompt_from_document(tokenizer_for_documents(options, inputs), source, note_damage(options.verbosity),
                                      offset);
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

/// Prompts of files of ids, which must have one length, and no two the same ids.
inline std::vector<prompt::Prompt> prompts_of_ids(const std::vector<std::string>& files, const Inputs& inputs) {
  std::vector<prompt::Prompt> out;
  for (const std::string& file : files) {
    prompt::Prompt& added = out.emplace_back(prompt::read_prompt_ids(file));
    if (added.text.empty() && inputs.tokenizer) added.text = inputs.tokenizer->decode(added.token_ids);
    if (added.token_ids.size() != out.front().token_ids.size())
      fail("--prompt-ids {} has {} tokens, {} has {}: expected prompts of one length", file, added.token_ids.size(),
           files.front(), out.front().token_ids.size());
    for (std::size_t i = 0; i + 1 < out.size(); ++i)
      if (out[i].token_ids == added.token_ids)
        fail("--prompt-ids {} and {} are one prompt: expected different ones", files[i], file);
  }
  return out;
}

/// Opens what --prompt-pdf, --prompt-text or --prompt-ids names.
inline Inputs load_inputs(const Options& options, const model::Checkpoint& checkpoint) {
  Inputs out;
  out.tokenizer = load_tokenizer(options, checkpoint, &out.unknown_tokenizer);
  if (!options.prompt_ids.empty()) {
    out.prompts = prompts_of_ids(options.prompt_ids, out);
    if (!out.unknown_tokenizer.empty() && options.verbosity == Verbosity::normal)
      tell("the model's tokeniser is not known, so that tokens stand without their text: {}", out.unknown_tokenizer);
  } else {
    const auto& tokenizer = tokenizer_for_documents(options, out);
    const auto documents = prompt::read_documents(options.prompt, note_damage(options.verbosity));
    out.prompts = prompt::cut_prompts(tokenizer, documents, options.prompt.options,
                                      {options.prompts, options.seed});
    if (documents.size() > 1)
      for (const prompt::Document& one : documents)
        out.documents.push_back(
            {{"name", std::filesystem::path(one.name).filename().string()}, {"sha256", sha256_hex(one.text)}});
  }
  for (const prompt::Prompt& one : out.prompts) require_fit(one, checkpoint.config(), options.decode_steps);
  return out;
}

}  // namespace fpf
