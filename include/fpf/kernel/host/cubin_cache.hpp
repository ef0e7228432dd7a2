// Compiled kernels on disk, shared by every process of a user and safe under concurrent starts.
#pragma once

#include <filesystem>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/cache_folder.hpp>
#include <fpf/core/error.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/kernel/host/nvrtc.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace fpf::kernel {

/// A folder of entries, one file each, named by the SHA-256 of everything that determines the code. An entry
/// is written under a temporary name and renamed; one whose checksum does not fit is treated as missing.
class CubinCache {
 public:
  /// user_cache_folder(); where that is none or cannot be written, nothing is kept.
  CubinCache() : folder_(user_cache_folder()), required_(false) {}

  /// A folder of the user's choice; made if missing. Throws Error when that fails.
  explicit CubinCache(std::filesystem::path folder) : folder_(std::move(folder)), required_(true) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) fail("cannot use {} as the kernel cache: {}", folder_.string(), error.message());
  }

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path file(const std::string& key) const { return folder_ / (key + ".cubin"); }

  std::optional<Compiled> load(const std::string& key) const {
    std::error_code error;
    if (folder_.empty() || !std::filesystem::is_regular_file(file(key), error)) return std::nullopt;
    try {
      const MappedFile entry(file(key));
      return parse(entry.text());
    } catch (const Error&) {  // unreadable, or gone between the question and the opening
      return std::nullopt;
    }
  }

  /// Throws Error only where the user named the folder; the default one is a convenience.
  void store(const std::string& key, const Compiled& compiled) const {
    if (folder_.empty()) return;
    static std::mutex one_writer;  // temporary names are per process
    const std::lock_guard lock(one_writer);
    try {
      std::error_code error;
      std::filesystem::create_directories(folder_, error);
      AtomicFile(file(key)).append(serialise(compiled)).commit();
    } catch (const Error&) {
      if (required_) throw;
    }
  }

 private:
  static constexpr std::string_view magic = "fpf-cubin 1 ";

  // "fpf-cubin 1 <sha256 of the rest>\n", then "<name>\t<symbol>\n" per kernel, an empty line, and the cubin.
  static std::string serialise(const Compiled& compiled) {
    std::string body;
    for (const auto& [name, symbol] : compiled.lowered) body += name + '\t' + symbol + '\n';
    body += '\n';
    body.append(reinterpret_cast<const char*>(compiled.cubin.data()), compiled.cubin.size());
    return std::string(magic) + sha256_hex(body) + '\n' + body;
  }

  static std::optional<Compiled> parse(std::string_view text) {
    const std::size_t head = magic.size() + 64;
    if (!text.starts_with(magic) || text.size() <= head || text[head] != '\n') return std::nullopt;
    const std::string_view digest = text.substr(magic.size(), 64);
    text.remove_prefix(head + 1);
    if (sha256_hex(text) != digest) return std::nullopt;
    Compiled compiled;
    while (!text.empty() && text.front() != '\n') {
      const std::size_t tab = text.find('\t'), end = text.find('\n');
      if (tab == std::string_view::npos || end == std::string_view::npos || end < tab) return std::nullopt;
      compiled.lowered.emplace_back(text.substr(0, tab), text.substr(tab + 1, end - tab - 1));
      text.remove_prefix(end + 1);
    }
    if (text.empty()) return std::nullopt;
    const auto bytes = std::as_bytes(std::span(text.substr(1)));
    compiled.cubin.assign(bytes.begin(), bytes.end());
    return compiled;
  }

  std::filesystem::path folder_;
  bool required_;
};

}  // namespace fpf::kernel
