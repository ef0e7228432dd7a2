// Which model a manifest names, by content: what two configurations must share before their numbers are compared.
#pragma once

#include <algorithm>
#include <fpf/core/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// Where two manifest.model objects name different content.
struct ModelDifference {
  std::string field;  // "files/0/sha256"; empty: none
  std::string a, b;   // the two values

  explicit operator bool() const { return !field.empty(); }
};

namespace detail {

/// What identifies a model's weights, field by field: the digest of each file, or of a synthetic model how it is made
/// (the shape is in config_sha256, wherever it was read from). Null for a file without a digest.
inline std::vector<std::pair<std::string, nlohmann::json>> contents_of(const nlohmann::json& model) {
  std::vector<std::pair<std::string, nlohmann::json>> out;
  const auto& files = member_or_null(model, "files");
  for (std::size_t i = 0; files.is_array() && i < files.size(); ++i) {
    const auto& digest = member_or_null(files[i], "sha256");
    out.emplace_back(fmt::format("files/{}/sha256", i), digest.is_string() ? digest : nlohmann::json());
  }
  const auto& id = member_or_null(model, "id");
  if (!out.empty() || !id.is_string()) return out;
  if (const auto& text = id.get_ref<const std::string&>(); text.starts_with("synthetic:"))
    out.emplace_back("id", text.substr(std::min(text.find('?'), text.size())));
  return out;
}

inline std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace detail

/// manifest.model of a configuration; null where there is none.
inline const nlohmann::json& model_of(const nlohmann::json& configuration) {
  return member_or_null(member_or_null(configuration, "manifest"), "model");
}

/// Whether a manifest.model says which weights it means: a digest of every file, or how a synthetic model is made.
inline bool identifies_weights(const nlohmann::json& model) {
  const auto contents = detail::contents_of(model);
  return !contents.empty() && std::ranges::none_of(contents, [](const auto& one) { return one.second.is_null(); });
}

namespace detail {

/// Of what is not in the files.
inline ModelDifference naming_difference(const nlohmann::json& a, const nlohmann::json& b) {
  for (const char* field : {"config_sha256", "placement_sha256"})
    if (const auto& left = member_or_null(a, field), &right = member_or_null(b, field); left != right)
      return {field, text_of(left), text_of(right)};
  return {};
}

}  // namespace detail

/// The field in which two models that both identify their weights differ: a file's digest, the number of files, how a
/// synthetic model is made, the configuration's digest, which of several tensors of one name are read. Names do not
/// count.
inline ModelDifference weights_difference(const nlohmann::json& a, const nlohmann::json& b) {
  const auto x = detail::contents_of(a), y = detail::contents_of(b);
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
    if (x[i] != y[i]) return {x[i].first, detail::text_of(x[i].second), detail::text_of(y[i].second)};
  if (x.size() != y.size()) return {"files", fmt::format("{} files", x.size()), fmt::format("{} files", y.size())};
  return detail::naming_difference(a, b);
}

/// The same before the files are hashed: the configuration's digest, the number of files, their sizes.
inline ModelDifference outline_difference(const nlohmann::json& a, const nlohmann::json& b) {
  if (auto found = detail::naming_difference(a, b)) return found;
  const auto &x = member_or_null(a, "files"), &y = member_or_null(b, "files");
  if (x.size() != y.size()) return {"files", fmt::format("{} files", x.size()), fmt::format("{} files", y.size())};
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto &ours = member_or_null(y.at(i), "bytes"), &theirs = x.is_array() ? member_or_null(x[i], "bytes") : x;
    if (!theirs.is_null() && theirs != ours)
      return {fmt::format("files/{}/bytes", i), detail::text_of(theirs), detail::text_of(ours)};
  }
  return {};
}

/// The same as weights_difference() for two checkpoints of one model in different formats: the configuration less
/// quantisation and dtype, and the tokeniser. Only what both say counts.
inline ModelDifference base_difference(const nlohmann::json& a, const nlohmann::json& b) {
  for (const char* field : {"base_config_sha256", "tokenizer_sha256"}) {
    const auto &left = member_or_null(a, field), &right = member_or_null(b, field);
    if (left.is_string() && right.is_string() && left != right)
      return {field, left.get<std::string>(), right.get<std::string>()};
  }
  return {};
}

}  // namespace fpf::evidence
