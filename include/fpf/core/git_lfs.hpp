// Git LFS pointers: the small text files that stand where `git lfs pull` did not bring the file itself.
#pragma once

#include <fpf/core/error.hpp>
#include <string>
#include <string_view>

namespace fpf {

/// Whether a file's content is a Git LFS pointer: its first line is "version https://git-lfs.github.com/spec/v1", or
/// that of the specification's older name (the Git LFS specification, "The Pointer"; a pointer has fewer than 1024
/// bytes).
inline bool is_git_lfs_pointer(std::string_view content) {
  return content.size() < 1024 && (content.starts_with("version https://git-lfs.github.com/spec/") ||
                                   content.starts_with("version https://hawser.github.com/spec/"));
}

/// Throws Error naming `file`, and the size that the file itself has, where its content is a Git LFS pointer.
inline void refuse_git_lfs_pointer(std::string_view content, const std::string& file) {
  if (!is_git_lfs_pointer(content)) return;
  constexpr std::string_view key = "\nsize ";
  const auto at = content.find(key);
  const std::string_view size = at == std::string_view::npos ? std::string_view() : content.substr(at + key.size());
  const std::string digits(size.substr(0, size.find_first_not_of("0123456789")));
  fail(
      "{} is a Git LFS pointer, not the file itself{}: get it by `git lfs pull` in the folder it was cloned to, or download it",
      file, digits.empty() ? std::string() : " (which has " + digits + " bytes)");
}

}  // namespace fpf
