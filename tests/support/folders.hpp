// Folders and files that programs leave: what their tests share.
#pragma once

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fpf/core/json.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "child.hpp"
#include "error_text.hpp"

namespace fs = std::filesystem;
using nlohmann::json;
using Strings = std::vector<std::string>;

inline fs::path fresh_folder(const fs::path& name) {
  fs::remove_all(name);
  fs::create_directories(name);
  return name;
}

inline std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.insert(entry.path().filename().string());
  return out;
}

inline std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline fs::path write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
  return fs::absolute(path);
}

/// The file's own claims, recomputed by Python's standard library.
inline Outcome recomputed(const fs::path& file) {
  return run({"python3", (fs::path(FPF_FIXTURES) / "check_evidence.py").string(), file.string()});
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  BOOST_REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}
