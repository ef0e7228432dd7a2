// Where a report may go, and what earlier ones are known by.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace fpf::compare::report {

/// What index.html holds near its beginning, and earlier reports are known by.
inline constexpr std::string_view generator_mark = "<meta name=\"generator\" content=\"fpf compare\">";

namespace detail {

namespace fs = std::filesystem;

/// A report's page; nothing for any other.
inline std::string report_page(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string page(512, '\0');
  file.read(page.data(), static_cast<std::streamsize>(page.size()));
  page.resize(static_cast<std::size_t>(file.gcount()));
  if (page.find(generator_mark) == std::string::npos) return {};
  return page.append(std::istreambuf_iterator<char>(file), {});
}

/// The first entry that is not this page's own; an empty path when there is none. A report's files are those that it
/// links to, and what gnuplot makes of its scripts.
inline fs::path foreign_entry(const fs::path& folder, const std::string& page) {
  const auto links_to = [&](const fs::path& file) {
    return page.find(fmt::format("href=\"{}\"", file.string())) != std::string::npos;
  };
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename();
    if (name == "index.html" && entry.is_regular_file()) continue;
    if ((name != "plots" && name != "csv") || entry.is_symlink() || !entry.is_directory()) return name;
    for (const auto& inner : fs::directory_iterator(entry)) {
      fs::path own = name / inner.path().filename();
      const bool drawn =
          name == "plots" && own.extension() == ".svg" && links_to(fs::path(own).replace_extension("gp"));
      if (!inner.is_regular_file() || !(drawn || links_to(own))) return own;
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
    const std::string page = detail::report_page(folder / "index.html");
    if (page.empty())
      fail(
          "--report {}: expected a new or empty folder or an earlier report, found a folder with other "
          "content",
          given.string());
    if (const auto foreign = detail::foreign_entry(folder, page); !foreign.empty())
      fail("--report {}: the report there would be replaced, but {} in it is not part of one", given.string(),
           foreign.string());
  }
  if (::access(folder.parent_path().c_str(), W_OK) != 0)
    fail("--report {}: cannot write to {}: {}", given.string(), folder.parent_path().string(), std::strerror(errno));
  return folder;
}

}  // namespace fpf::compare::report
