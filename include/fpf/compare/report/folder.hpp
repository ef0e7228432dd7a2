// Where a report may go, and what earlier ones are known by.
#pragma once

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fstream>
#include <string>
#include <string_view>

namespace fpf::compare::report {

/// What index.html holds near its beginning, and earlier reports are known by.
inline constexpr std::string_view generator_mark = "<meta name=\"generator\" content=\"fpf compare\">";

namespace detail {

namespace fs = std::filesystem;

inline bool is_report_page(const fs::path& page) {
  std::array<char, 512> head{};
  std::ifstream(page, std::ios::binary).read(head.data(), head.size());
  return std::string_view(head.data(), head.size()).find(generator_mark) != std::string_view::npos;
}

/// The first entry that no report has; an empty path when there is none.
inline fs::path foreign_entry(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename();
    if (name == "index.html" && entry.is_regular_file()) continue;
    if ((name != "plots" && name != "csv") || entry.is_symlink() || !entry.is_directory()) return name;
    for (const auto& inner : fs::directory_iterator(entry)) {
      const auto extension = inner.path().extension();
      const bool plot = extension == ".gp" || extension == ".dat" || extension == ".svg";
      if (!inner.is_regular_file() || !(name == "csv" ? extension == ".csv" : plot))
        return name / inner.path().filename();
    }
  }
  return {};
}

}  // namespace detail

/// Where a report may go: a new name in an existing folder, an empty folder, or an earlier report, which is
/// replaced. Returns the absolute path. Throws Error for everything else.
inline std::filesystem::path checked_report_folder(const std::filesystem::path& given) {
  namespace fs = std::filesystem;
  if (given.empty()) fail("--report: expected a folder's name, found none");
  std::error_code error;
  fs::path folder = fs::weakly_canonical(fs::absolute(given), error);
  if (error) fail("--report {}: {}", given.string(), error.message());
  if (!folder.has_filename()) folder = folder.parent_path();
  if (!fs::exists(folder)) {
    if (!fs::is_directory(folder.parent_path()))
      fail("--report {}: the folder {} does not exist", given.string(), folder.parent_path().string());
  } else if (!fs::is_directory(folder)) {
    fail("--report {}: expected a folder, found a file", given.string());
  } else if (!fs::is_empty(folder)) {
    if (!detail::is_report_page(folder / "index.html"))
      fail(
          "--report {}: expected a new or empty folder or an earlier report, found a folder with other "
          "content",
          given.string());
    if (const auto foreign = detail::foreign_entry(folder); !foreign.empty())
      fail("--report {}: the report there would be replaced, but {} in it is not part of one", given.string(),
           foreign.string());
  }
  if (::access(folder.parent_path().c_str(), W_OK) != 0)
    fail("--report {}: cannot write to {}: {}", given.string(), folder.parent_path().string(), std::strerror(errno));
  return folder;
}

}  // namespace fpf::compare::report
