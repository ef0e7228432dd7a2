// Where a user's programs keep what can be made again.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace fpf {

/// $XDG_CACHE_HOME/fpf, or ~/.cache/fpf; empty where neither variable is an absolute path.
inline std::filesystem::path user_cache_folder() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg == '/')
    return std::filesystem::path(xdg) / "fpf";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::filesystem::path(home) / ".cache" / "fpf";
  return {};
}

}  // namespace fpf
