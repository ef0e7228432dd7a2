// Names of models on a hub, where a folder was expected.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace fpf {

/// "OWNER/NAME" as hubs name models, where there is nothing of that name here.
inline bool is_hub_name(std::string_view name) {
  const auto slash = name.find('/');
  if (slash == name.npos) return false;
  const std::string_view owner = name.substr(0, slash), model = name.substr(slash + 1);
  const auto plain = [](std::string_view part) {
    const auto letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    };
    return !part.empty() && part.front() != '.' && part.front() != '-' && std::ranges::all_of(part, letter);
  };
  const std::filesystem::path path(name);
  const bool file = path.extension() == ".gguf" || path.extension() == ".json" || path.extension() == ".safetensors";
  std::error_code ignored;
  return plain(owner) && plain(model) && !file && !std::filesystem::exists(std::filesystem::path(owner), ignored);
}

/// What to do about it, to go behind an error's text; empty for other names.
inline std::string hub_hint(const std::string& name) {
  if (!is_hub_name(name)) return "";
  const std::string folder = "build/models/" + name.substr(name.find('/') + 1);
  return ". Models of a hub are fetched first: hf download " + name + " --local-dir " + folder + ", and then named " +
         folder;
}

}  // namespace fpf
