// In which fields two manifests differ, and which of them say that numbers may differ.
#pragma once

#include <algorithm>
#include <array>
#include <fpf/compare/join.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::verify {

using nlohmann::json;

struct FieldDifference {
  std::string field;    // "device/name"
  std::string claimed;  // JSON text, strings without quotes; "none" where the field is missing
  std::string here;
  bool matters = true;  // whether numbers may depend on it
};

namespace detail {

/// Names and places, and what re-execution leaves out on purpose: a load beside the run changes no operation of it.
inline bool is_name(std::string_view field) {
  constexpr std::array names{"model/id", "nvrtc/library", "policies/stream"};
  return std::ranges::find(names, field) != names.end() ||
         (field.starts_with("model/files/") && (field.ends_with("/file") || field.ends_with("/digest_from")));
}

/// "model/files/0/sha256" -> its text. fpf's own kernels stand under their names, since a process lists all that it
/// has built so far.
inline std::map<std::string, std::string> fields_of(const json& manifest) {
  json plain = manifest.is_object() ? manifest : json::object();
  json kernels = json::object();
  for (const json& kernel : plain.value("own_kernels", json::array()))
    kernels[kernel.value("name", "") + " " + kernel.value("options", json()).dump()] = kernel;
  plain["own_kernels"] = kernels;
  plain.erase("prompt");  // where the ids came from; they are compared themselves
  std::map<std::string, std::string> out;
  const json flat = plain.flatten();
  for (const auto& [pointer, value] : flat.items())
    if (!value.is_structured() && !value.is_null())
      out[pointer.substr(std::min<std::size_t>(1, pointer.size()))] = compare::value_text(value);
  return out;
}

}  // namespace detail

/// All fields in which a claimed manifest and that of a re-execution differ, by name. Kernels that only the latter
/// lists are no difference.
inline std::vector<FieldDifference> manifest_differences(const json& claimed, const json& here) {
  std::vector<FieldDifference> out;
  const auto theirs = detail::fields_of(claimed), ours = detail::fields_of(here);
  for (const auto& [field, value] : theirs) {
    const auto found = ours.find(field);
    if (found == ours.end() || found->second != value)
      out.push_back({field, value, found == ours.end() ? "none" : found->second, !detail::is_name(field)});
  }
  for (const auto& [field, value] : ours)
    if (!theirs.contains(field) && !field.starts_with("own_kernels/"))
      out.push_back({field, "none", value, !detail::is_name(field)});
  return out;
}

/// Of two manifests, the part about machine, software and policies: what honest runs must share to be noise of one
/// another. Models and fpf's kernels are left out.
inline std::vector<FieldDifference> machine_differences(const json& a, const json& b) {
  auto out = manifest_differences(a, b);
  std::erase_if(out, [](const FieldDifference& one) {
    return !one.matters || one.field.starts_with("own_kernels/") || one.field.starts_with("model/");
  });
  return out;
}

}  // namespace fpf::verify
