// Which files are experiments, by what they say: for folders that hold other JSON, too, and before a file is
// overwritten.
#pragma once

#include <filesystem>
#include <fpf/core/mapped_file.hpp>
#include <fpf/evidence/json_cursor.hpp>
#include <system_error>

namespace fpf::evidence {

/// Whether a file says that it is an experiment, as far as it can be read: results of analyses and verifications,
/// prompts and journals do not. One that cannot be opened counts, so that somebody says so.
inline bool looks_like_experiment(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(std::filesystem::status(path, ignored))) return false;
  MappedFile file;
  try {
    file = MappedFile(path);
  } catch (const Error&) {
    return true;
  }
  try {
    JsonCursor cursor(file.text(), path.string());
    cursor.enter_object();
    while (const auto key = cursor.next_key()) {
      if (*key == "experiment_metadata" || *key == "configurations") return true;
      cursor.take();
    }
  } catch (const Error&) {  // what comes behind is unknown
  }
  return false;
}

/// Throws Error where results would take the place of an experiment file, whoever made it.
inline void refuse_overwriting_evidence(const std::string& option, const std::filesystem::path& output) {
  if (looks_like_experiment(output))
    fail("{} {} is an experiment file: it would be overwritten; name another", option, output.string());
}

}  // namespace fpf::evidence
