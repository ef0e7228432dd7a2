// Where an experiment's numbers come from: its prompt, its dates, the machines and the fpf that wrote it.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/configuration.hpp>
#include <fpf/compare/joined_experiment.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/text.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare {

namespace detail {

inline std::string text_member(const nlohmann::json& object, const char* name) {
  const nlohmann::json* found = member_of(object, name);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

/// The beginning of a JSON string of any length, on one line and in quotation marks; empty for what is no string.
inline std::string beginning_of(std::string_view json) {
  constexpr std::size_t enough = 1024, shown = 160;
  for (std::size_t cut = std::min(json.size(), enough); cut > 0 && cut + 16 > std::min(json.size(), enough); --cut) {
    // What is cut ends within a code point or an escape at times: then a little earlier.
    const std::string whole = std::string(json.substr(0, cut)) + (cut == json.size() ? "" : "\"");
    if (!nlohmann::json::accept(whole)) continue;
    const nlohmann::json text = parse_json(whole, "a prompt");
    if (text.is_string() && !text.get_ref<const std::string&>().empty())
      return "“" + one_line(text.get_ref<const std::string&>(), shown) + "”";
  }
  return "";
}

/// How many ids a JSON array of numbers holds, and the first of them in words; {0, ""} for another value.
inline std::pair<std::size_t, std::string> ids_of(std::string_view json) {
  constexpr std::size_t few = 12;
  if (json.find_first_not_of("[]0123456789, \t\r\n") != std::string_view::npos) return {};
  std::vector<std::string> first;
  std::size_t count = 0;
  for (std::size_t at = 0; (at = json.find_first_of("0123456789", at)) != std::string_view::npos; ++count) {
    const std::size_t end = std::min(json.find_first_not_of("0123456789", at), json.size());
    if (count < few) first.emplace_back(json.substr(at, end - at));
    at = end;
  }
  if (count == 0) return {};
  return {count, fmt::format("token ids {}{}", fmt::join(first, ", "), count > few ? ", …" : "")};
}

/// Each prompt by the first of its runs that has a digest or ids.
inline std::vector<Prompt> prompts_of(const JoinedExperiment& experiment) {
  std::vector<Prompt> out;
  for (const PromptId& id : experiment.prompts)
    out.push_back({.number = id.number, .sha256 = id.sha256, .words = {}, .tokens = 0});
  std::vector<bool> found(out.size());
  for (const Member& member : experiment.members) {
    const auto& file = experiment.file_of(member);
    for (std::size_t i = 0; i < member.runs.size(); ++i) {
      const evidence::StoredRun& run = *member.runs[i];
      Prompt& prompt = out[member.prompts[i]];
      if (found[member.prompts[i]]) continue;
      const auto [count, ids] = ids_of(file.text(run.prompt_token_ids));
      if (count == 0 && text_member(run.members, "prompt_sha256").empty()) continue;
      found[member.prompts[i]] = true;
      prompt.tokens = count;
      prompt.words = beginning_of(file.text(run.prompt_text));
      if (prompt.words.empty()) prompt.words = ids;
    }
  }
  return out;
}

inline std::string machine_of(const nlohmann::json& manifest) {
  const nlohmann::json* device = member_of(manifest, "device");
  if (device == nullptr) return "";
  std::string out = text_member(*device, "name");
  if (const std::string type = text_member(*device, "type"); !type.empty()) out += (out.empty() ? "" : ", ") + type;
  const nlohmann::json* threads = member_of(manifest, "threads");
  if (threads != nullptr && threads->is_number_integer())
    out += fmt::format(", {} thread{}", threads->dump(), *threads == 1 ? "" : "s");
  return out;
}

inline std::string writer_of(const nlohmann::json& manifest) {
  const nlohmann::json* fpf = member_of(manifest, "fpf");
  if (fpf == nullptr) return "";
  const std::string version = text_member(*fpf, "version"), revision = text_member(*fpf, "revision");
  return revision.empty() ? version : fmt::format("{}, revision {}", version, revision);
}

}  // namespace detail

/// Fills in the prompts, the dates, and of each configuration its machine and writer. What files do not say stays
/// empty.
inline void add_origin(Analysis& analysis, const JoinedExperiment& experiment) {
  analysis.prompts = detail::prompts_of(experiment);
  for (const auto& file : experiment.files)
    if (const std::string date = detail::text_member(file.metadata, "date_created"); !date.empty())
      analysis.created.push_back(date);
  std::ranges::sort(analysis.created);
  analysis.created.erase(std::unique(analysis.created.begin(), analysis.created.end()), analysis.created.end());
  for (std::size_t i = 0; i < experiment.members.size(); ++i) {
    const auto* manifest = detail::member_of(*experiment.members[i].configuration, "manifest");
    if (manifest == nullptr) continue;
    analysis.configurations[i].machine = detail::machine_of(*manifest);
    analysis.configurations[i].fpf = detail::writer_of(*manifest);
  }
}

}  // namespace fpf::compare
