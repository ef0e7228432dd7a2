// From documents to prompts of them.
#pragma once

#include <fpf/core/interrupt.hpp>
#include <fpf/prompt/cuts.hpp>
#include <fpf/prompt/document.hpp>
#include <string>
#include <vector>

namespace fpf::prompt {

/// The documents' texts, in the order of source.files(). Where a PDF is damaged but readable, on_damage(sentence) is
/// called. Throws Error as document_text() does, and Interrupted.
template <class OnDamage>
std::vector<Document> read_documents(const PromptSource& source, OnDamage on_damage) {
  std::vector<Document> out;
  const auto read = [&](const std::string& file, DocumentKind kind) {
    std::vector<std::string> problems;
    out.push_back({file, document_text(file, kind, &problems)});
    check_interrupt();
    if (!problems.empty()) on_damage(describe_damage(file, problems));
  };
  for (const std::string& file : source.pdfs) read(file, DocumentKind::pdf);
  for (const std::string& file : source.texts) read(file, DocumentKind::text);
  return out;
}

/// A prompt of exactly source.options.tokens tokens of its first document from a byte of its text on. Throws Error as
/// read_documents() and make_prompt() do, and Interrupted.
template <class OnDamage>
Prompt prompt_from_document(const Tokenizer& tokenizer, const PromptSource& source, OnDamage on_damage,
                            std::size_t offset = 0) {
  Prompt out = prompt_from(tokenizer, read_documents(source, on_damage).front(), offset, source.options);
  check_interrupt();
  return out;
}

}  // namespace fpf::prompt
