// The prompts that evidence answers against the question that was asked.
#pragma once

#include <fmt/ranges.h>

#include <fpf/core/text.hpp>
#include <fpf/experiment/inputs.hpp>
#include <fpf/verify/claim.hpp>
#include <fpf/verify/options.hpp>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace fpf::verify {

/// A model's tokeniser, which a question's document is read with.
struct TokenizerOf {
  std::string name;  // of the model, as --model has it
  const std::optional<prompt::Tokenizer>* tokenizer = nullptr;
  std::string unknown{};  // why there is none, where it could not be read
};

/// What was asked, made into prompts once a model.
class AskedPrompts {
 public:
  explicit AskedPrompts(const Settings& settings) : settings_(settings) {}

  /// The prompt of the evidence against the question. `model`: the claim's, or nullptr; its
  /// tokeniser is the reference.
  PromptReport report_of(const Claim& claim, const TokenizerOf* model) {
    const auto& ids = claim.prompts.front();
    const prompt::Tokenizer* tokenizer = model != nullptr && *model->tokenizer ? &**model->tokenizer : nullptr;
    const Question& question = settings_.question;
    PromptReport out;
    out.tokens = ids.size();
    out.sha256 = prompt::prompt_sha256(ids);
    out.begins = tokenizer != nullptr ? one_line(tokenizer->decode(ids), 120) : std::string();
    if (out.begins.empty()) out.begins = one_line(fmt::format("token ids {}", fmt::join(ids, ", ")), 120);
    try {
      out.among = among(claim);
    } catch (const Error&) {  // the evidence contradicts itself
      return out;
    }
    if (question.option().empty() || (question.is_document() && model == nullptr)) return out;
    out.held_against = question.option();
    if (!question.sha256.empty()) {
      if (std::ranges::find(question.sha256, out.sha256) == question.sha256.end())
        out.difference =
            fmt::format("it answers another prompt than {}: its ids have SHA-256 {}", out.held_against, out.sha256);
      return out;
    }
    std::vector<std::int32_t> asked;
    if (question.is_document()) {
      out.difference = cut_difference(claim, *model, asked);
      if (!out.difference.empty()) return out;
      out.held = {"experiment_metadata/prompts/seed", "experiment_metadata/prompts/documents/*/sha256",
                  "runs/*/document_sha256", "runs/*/document_offset"};
    }
    for (const auto& one : given_ids())
      if (one == ids || asked.empty()) asked = one;
    out.difference = prompt_difference(out.held_against, ids, asked, [&](std::int32_t id) {
      const bool known = tokenizer != nullptr && id >= 0 && static_cast<std::size_t>(id) < tokenizer->vocab_size();
      return known ? fmt::format(" ({})",
                                 json(tokenizer->token_text(id)).dump(-1, ' ', false, json::error_handler_t::replace))
                   : std::string();
    });
    return out;
  }

 private:
  /// Those of --prompt-ids.
  const std::vector<std::vector<std::int32_t>>& given_ids() {
    if (given_ids_.empty())
      for (const std::string& file : settings_.question.ids)
        given_ids_.push_back(prompt::read_prompt_ids(file).token_ids);
    return given_ids_;
  }

  /// The question's documents in the order of the evidence's, which say them by SHA-256 where they are several; empty
  /// where they are others.
  static std::vector<prompt::Document> in_order(std::vector<prompt::Document> documents,
                                                const std::vector<std::string>& stated) {
    if (documents.size() == 1 && stated.empty()) return documents;
    std::vector<prompt::Document> out;
    for (const std::string& sha256 : stated)
      for (prompt::Document& one : documents)
        if (sha256_hex(one.text) == sha256) out.push_back(one);
    if (out.size() != documents.size() || out.size() != stated.size()) out.clear();
    return out;
  }

  /// What the question's document makes of a claim's place among the prompts, with the tokeniser of a model, into
  /// `asked`; or why it does not, as a sentence.
  std::string cut_difference(const Claim& claim, const TokenizerOf& model, std::vector<std::int32_t>& asked) {
    Options options;
    options.model = model.name;
    const Inputs inputs{
        .prompts = {}, .documents = {}, .tokenizer = *model.tokenizer, .unknown_tokenizer = model.unknown};
    const prompt::Tokenizer& tokenizer = tokenizer_for_documents(options, inputs);
    const prompt::PromptSource& source = settings_.question.document;
    const evidence::StatedPrompts stated = evidence::stated_prompts(*claim.file);
    const bool drawn = stated.seed.has_value();
    const prompt::Cuts wanted{drawn ? static_cast<std::int64_t>(stated.count) : 1, stated.seed.value_or(0)};
    const std::size_t index = drawn ? evidence::prompt_index(*claim.run) : 0;
    std::vector<prompt::Prompt>& made = asked_[{model.name, wanted.count, wanted.seed}];
    if (made.empty()) {
      const auto documents =
          in_order(prompt::read_documents(source, note_damage(settings_.verbosity)), stated.documents);
      if (documents.empty())
        return fmt::format("it answers prompts of other documents than {}: it states {}", settings_.question.option(),
                           stated.documents.empty() ? "one" : fmt::format("{} by SHA-256", stated.documents.size()));
      try {
        made = prompt::cut_prompts(tokenizer, documents, source.options, wanted);
      } catch (const Error& error) {
        if (!drawn) throw;
        return fmt::format("it answers other prompts than {}: {}", settings_.question.option(), error.what());
      }
    }
    if (index >= made.size()) return fmt::format("it answers prompt {}, and there are {}", index, made.size());
    asked = made[index].token_ids;
    const json &offset = member_or_null(claim.run->members, "document_offset"),
               &document = member_or_null(claim.run->members, "document_sha256");
    const json expected = made[index].document_offset ? json(*made[index].document_offset) : json();
    const json drawn_from = stated.documents.empty() ? json() : json(made[index].document_sha256);
    if (document != drawn_from)
      return fmt::format("its document_sha256 is {}: {} draws it from {}", document.dump(),
                         settings_.question.option(), drawn_from.dump());
    return offset == expected ? ""
                              : fmt::format("its document_offset is {}: {} puts it at {}", offset.dump(),
                                            settings_.question.option(), expected.dump());
  }

  /// "prompt 3 of 30, cut by seed 7"; empty where there is one.
  static std::string among(const Claim& claim) {
    const evidence::StatedPrompts stated = evidence::stated_prompts(*claim.file);
    const std::size_t index = evidence::prompt_index(*claim.run);
    if (stated.count == 1) return "";
    return fmt::format("prompt {} of {}{}", index, stated.count,
                       stated.seed ? fmt::format(", cut by seed {}", *stated.seed) : "");
  }

  const Settings& settings_;
  std::vector<std::vector<std::int32_t>> given_ids_;
  std::map<std::tuple<std::string, std::int64_t, std::uint64_t>, std::vector<prompt::Prompt>>
      asked_;  // by model and cuts; the evidence is one file
};

}  // namespace fpf::verify
