// The program compare: what its tests share.
#pragma once

#include "folders.hpp"

using Json = nlohmann::ordered_json;

inline const std::string program = FPF_BIN "/compare";

/// Returns the path as given.
inline std::string write(const std::string& path, const Json& content) {
  write(fs::path(path), content.dump());
  return path;
}

inline Json parsed(const fs::path& path) { return Json::parse(text_of(path)); }
