// What the post-processor of tokenizer.json puts around one text (the `tokenizers` package, processors/).
#pragma once

#include <cstdint>
#include <fpf/core/error.hpp>
#include <fpf/core/json.hpp>
#include <fpf/prompt/vocabulary.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fpf::prompt {

namespace detail {

// "single": [{"SpecialToken": {"id": name}}, {"Sequence": {"id": "A"}}, ...]; "special_tokens": {name: {"ids": [...]}}.
inline Surrounding read_template_processing(const nlohmann::json& processor) {
  Surrounding out;
  bool behind = false;
  for (const auto& piece : processor.at("single")) {
    if (piece.contains("Sequence")) {
      if (behind || piece["Sequence"].at("id") != "A")
        return {{}, {}, "unsupported post-processor TemplateProcessing: its template shows the text not exactly once"};
      behind = true;
      continue;
    }
    const auto& ids = processor.at("special_tokens").at(piece.at("SpecialToken").at("id").get<std::string>()).at("ids");
    for (const auto& id : ids) (behind ? out.after : out.before).push_back(json_as<std::int32_t>(id));
  }
  if (!behind) return {{}, {}, "unsupported post-processor TemplateProcessing: its template does not show the text"};
  return out;
}

inline void for_each_processor(const nlohmann::json& processor, auto&& visit) {
  if (processor.value("type", "") != "Sequence") return visit(processor);
  for (const auto& part : processor.at("processors")) for_each_processor(part, visit);
}

}  // namespace detail

/// Reads "post_processor": TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (nothing) or a Sequence of
/// them, each around what the one before gives. Any other is not an error but `unknown`, since it matters only where
/// its tokens are asked for. Throws nlohmann's exception for one laid out otherwise.
inline Surrounding read_post_processor(const nlohmann::json& processors) {
  Surrounding out;
  if (processors.is_null()) return out;
  bool parted = false;  // TemplateProcessing hands its pieces on apart, and what follows takes them for a pair of texts
  detail::for_each_processor(processors, [&](const nlohmann::json& processor) {
    const std::string type = processor.value("type", "(no type)");
    if (type == "ByteLevel" || !out.unknown.empty()) return;
    Surrounding one;
    if (type == "TemplateProcessing")
      one = detail::read_template_processing(processor);
    else if (type == "BertProcessing" || type == "RobertaProcessing")  // "cls": [token, id]
      one = {
          {json_as<std::int32_t>(processor.at("cls").at(1))}, {json_as<std::int32_t>(processor.at("sep").at(1))}, {}};
    else
      one.unknown = fmt::format(
          "unsupported post-processor {}: expected TemplateProcessing, BertProcessing, "
          "RobertaProcessing, ByteLevel or a Sequence of them",
          type);
    if (parted && one.unknown.empty())
      one.unknown = fmt::format("unsupported post-processor Sequence: {} behind TemplateProcessing", type);
    parted = type == "TemplateProcessing" && !(one.before.empty() && one.after.empty());
    out.unknown = one.unknown;
    out.before.insert(out.before.begin(), one.before.begin(), one.before.end());
    out.after.insert(out.after.end(), one.after.begin(), one.after.end());
  });
  return out;
}

}  // namespace fpf::prompt
