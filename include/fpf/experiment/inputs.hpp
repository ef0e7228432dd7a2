// Prompt and tokeniser as the options ask for them.
#pragma once

#include <fpf/experiment/options.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fpf/prompt/document.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <fpf/prompt/prompt.hpp>
#include <fpf/prompt/prompt_file.hpp>

#include <optional>

namespace fpf {

/// What a model is fed, and the tokeniser that says what its tokens mean (absent where only ids were given).
struct Inputs {
  prompt::Prompt prompt;
  std::optional<prompt::Tokenizer> tokenizer;

  std::string token_text(std::int32_t id) const { return tokenizer ? tokenizer->token_text(id) : std::string(); }
};
