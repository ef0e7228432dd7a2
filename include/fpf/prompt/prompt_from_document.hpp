// From a document to prompts of it.
#pragma once

#include <fpf/core/interrupt.hpp>
#include <fpf/prompt/cuts.hpp>
#include <fpf/prompt/document.hpp>
#include <string>
#include <vector>

namespace fpf::prompt {

/// A document's text. Where a PDF is damaged but readable, on_damage(sentence) is called. Throws Error as document_text()
/// does, and Interrupted.
template <class OnDamage>
std::string text_of_document(const PromptSource& source, OnDamage on_damage) {
  const std::string& file = source.file();
  const auto kind = source.pdf.empty() ? DocumentKind::text : DocumentKind::pdf;
  std::vector<std::string> problems;
  std::string text = document_text(file, kind, &problems);
  check_interrupt();
  if (!problems.empty()) on_damage(describe_damage(file, problems));
  return text;
}

/// A prompt of exactly source.options.tokens tokens of a document from a byte of its text on. Throws Error as
/// text_of_document() and make_prompt() do, and Interrupted.
template <class OnDamage>
Prompt prompt_from_document(const Tokenizer& tokenizer, const PromptSource& source, OnDamage on_damage,
                            std::size_t offset = 0) {
  Prompt out = prompt_from(tokenizer, text_of_document(source, on_damage), offset, source.options, source.file());
  check_interrupt();
  return out;
}

/// The prompts that `cuts` asks for, of a document. Throws as prompt_from_document() and cut_prompts() do.
template <class OnDamage>
std::vector<Prompt> prompts_from_document(const Tokenizer& tokenizer, const PromptSource& source, const Cuts& cuts,
                                          OnDamage on_damage) {
  return cut_prompts(tokenizer, text_of_document(source, on_damage), source.options, cuts, source.file());
}

}  // namespace fpf::prompt
