// From a document to a prompt of it.
#pragma once

#include <fpf/core/hash.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/prompt/document.hpp>
#include <fpf/prompt/prompt.hpp>
#include <string>
#include <vector>

namespace fpf::prompt {

/// A prompt of exactly source.options.tokens tokens, with the digest of the document's text. Where a PDF is
/// damaged but readable, on_damage(sentence) is called. Throws Error as document_text() and make_prompt() do,
/// and Interrupted.
template <class OnDamage>
Prompt prompt_from_document(const Tokenizer& tokenizer, const PromptSource& source, OnDamage on_damage) {
  const std::string& file = source.file();
  const auto kind = source.pdf.empty() ? DocumentKind::text : DocumentKind::pdf;
  std::vector<std::string> problems;
  const std::string text = document_text(file, kind, &problems);
  check_interrupt();
  if (!problems.empty()) on_damage(describe_damage(file, problems));
  Prompt out = make_prompt(tokenizer, text, source.options, file);
  out.document_sha256 = sha256_hex(text);
  check_interrupt();
  return out;
}

}  // namespace fpf::prompt
