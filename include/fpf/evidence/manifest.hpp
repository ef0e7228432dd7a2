// What a machine and a model's files say of themselves, for the manifest.
#pragma once

#include <sys/stat.h>
#include <sys/utsname.h>

#include <chrono>
#include <ctime>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/version.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace fpf::evidence {

/// The processor's name as the kernel reports it, or the architecture's where it reports none.
inline std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  utsname name{};
  return ::uname(&name) == 0 ? name.machine : "unknown CPU";
}

/// Now, as the plan writes dates: YYYY-MM-DD HH:MM:SS (UTC).
inline std::string timestamp() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  return text;
}

namespace detail {

/// Read piece by piece: a map's pages would count as this process's memory, beside those of the model's own
/// map.
inline std::string hash_of_content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(1 << 20);
  Sha256 hash;
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() != 0)
    hash.update(std::string_view(piece.data(), static_cast<std::size_t>(file.gcount())));
  if (!file.eof()) fail("cannot read {}", path.string());
  return hash.hex();
}

}  // namespace detail

/// SHA-256 of a file's content. Kept beside the file as FILE.sha256 ("size mtime digest"), where that can be
/// written, and taken from there while size and modification time agree: shards have gigabytes.
inline std::string file_sha256(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail("cannot read {}", path.string());
  const std::string stamp = fmt::format("{} {}.{:09} ", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  const std::filesystem::path cache = path.string() + ".sha256";
  std::string line;
  if (std::ifstream in(cache); std::getline(in, line) && line.starts_with(stamp) && line.size() == stamp.size() + 64)
    return line.substr(stamp.size());
  const std::string digest = detail::hash_of_content(path);
  try {
    AtomicFile(cache).append(stamp + digest + "\n").commit();
  } catch (const Error&) {  // a read-only model folder: hash again next time
  }
  return digest;
}

/// [{file, bytes, sha256}] of a model's files; descriptions of synthetic models stand as they are.
inline nlohmann::ordered_json describe_files(const std::vector<std::filesystem::path>& files) {
  auto out = nlohmann::ordered_json::array();
  for (const auto& file : files) {
    if (!std::filesystem::is_regular_file(file)) {
      out.push_back({{"file", file.string()}});
      continue;
    }
    out.push_back({{"file", file.filename().string()},
                   {"bytes", std::filesystem::file_size(file)},
                   {"sha256", file_sha256(file)}});
  }
  return out;
}

}  // namespace fpf::evidence
