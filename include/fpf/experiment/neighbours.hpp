// The other sequences of a batch: from other documents, exactly as long as the reference prompt.
#pragma once

#include <fpf/evidence/prompts.hpp>
#include <fpf/experiment/inputs.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf {

/// Prompts of --neighbour-pdf and --neighbour-ids, at least `count`; with equal lengths there is no padding.
/// Throws Error when there are too few, or when one has another length, equals another or the reference, or
/// does not fit the model.
inline std::vector<prompt::Prompt> load_neighbours(const Options& options, const Inputs& inputs,
                                                   const model::ModelConfig& config, std::size_t count) {
  std::vector<std::pair<std::string, prompt::Prompt>> found;
  for (std::size_t i = 0; i < inputs.prompts.size(); ++i)
    found.emplace_back(inputs.prompts.size() == 1 ? "the prompt" : evidence::prompt_name(static_cast<std::int64_t>(i)),
                       inputs.prompts[i]);
  const std::size_t first = found.size();
  prompt::PromptOptions as_long = options.prompt.options;
  as_long.tokens = static_cast<std::int64_t>(inputs.prompt_tokens());
  for (const auto& file : options.neighbour_pdfs)
    found.emplace_back(file, prompt_from_document(options, inputs, {.pdfs = {file}, .texts = {}, .options = as_long}));
  for (const auto& file : options.neighbour_ids) {
    found.emplace_back(file, prompt::read_prompt_ids(file));
    prompt::Prompt& added = found.back().second;
    if (added.text.empty() && inputs.tokenizer) added.text = inputs.tokenizer->decode(added.token_ids);
  }
  if (found.size() - first < count)
    fail(
        "a batch of {} sequences needs {} neighbours from different documents, found {}: name them with "
        "--neighbour-pdf or --neighbour-ids",
        count + 1, count, found.size() - first);
  for (std::size_t i = first; i < found.size(); ++i) {
    const auto& [file, added] = found[i];
    require_fit(added, config, options.decode_steps);
    if (added.token_ids.size() != inputs.prompt_tokens())
      fail(
          "the neighbour {} has {} tokens: expected {}, as the prompt has, because padding would be measured "
          "too",
          file, added.token_ids.size(), inputs.prompt_tokens());
    for (std::size_t j = 0; j < i; ++j)
      if (found[j].second.token_ids == added.token_ids)
        fail("the neighbour {} gives the same tokens as {}: expected different documents", file, found[j].first);
  }
  std::vector<prompt::Prompt> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(std::move(found[first + i].second));
  return out;
}

}  // namespace fpf
