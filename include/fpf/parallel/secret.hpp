// What the processes of one run share and strangers do not know.
#pragma once

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fpf/core/cache_folder.hpp>
#include <fpf/core/error.hpp>
#include <fstream>
#include <string>
#include <system_error>

namespace fpf::parallel {

namespace detail {

inline std::string environment_text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// 64 hexadecimal digits of the system's random numbers.
inline std::string random_hex() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) fail("the system gives no random numbers");
  return fmt::format("{:02x}", fmt::join(bytes, ""));
}

/// A file's first line. Throws Error when it cannot be read, or when others than its owner may.
inline std::string secret_of_file(const std::filesystem::path& file) {
  struct stat status {};
  std::ifstream in(file);
  std::string line;
  if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || !std::getline(in, line))
    fail("FPF_RENDEZVOUS_SECRET_FILE {}: expected a file with a secret in its first line", file.string());
  if ((status.st_mode & 0077) != 0) fail("the secret in {} may be read by others: chmod 600 it", file.string());
  return line;
}

/// The secret of this user's processes on this machine, made when it is first asked for.
inline std::string own_secret() {
  const auto folder = user_cache_folder();
  const auto file = folder / "rendezvous-secret", made = folder / ("." + random_hex());
  std::error_code ignored;
  if (!folder.empty() && !std::filesystem::exists(file, ignored)) {
    std::filesystem::create_directories(folder, ignored);
    const std::string text = random_hex() + "\n";
    const int fd = ::open(made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const bool written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (fd >= 0) ::close(fd);
    if (written) static_cast<void>(::link(made.c_str(), file.c_str()));  // of several that come at once, one makes it
    ::unlink(made.c_str());
  }
  if (folder.empty() || !std::filesystem::exists(file, ignored))
    fail(
        "cannot keep a secret of this user's in {}: set FPF_RENDEZVOUS_SECRET for all ranks, e.g. to what openssl rand "
        "-hex 32 prints",
        folder.empty() ? "~/.cache/fpf (HOME is not set)" : folder.string());
  return secret_of_file(file);
}

}  // namespace detail

/// The run's secret: FPF_RENDEZVOUS_SECRET, or the first line of the file FPF_RENDEZVOUS_SECRET_FILE, which nobody else
/// may read. With neither, where all ranks are on `one_machine`, a secret of this user's
/// (~/.cache/fpf/rendezvous-secret). Throws Error without any, or with one of fewer than 16 characters.
inline std::string run_secret(bool one_machine, const std::string& address) {
  const std::string text = detail::environment_text("FPF_RENDEZVOUS_SECRET");
  const std::string file = detail::environment_text("FPF_RENDEZVOUS_SECRET_FILE");
  if (!text.empty() && !file.empty())
    fail("FPF_RENDEZVOUS_SECRET and FPF_RENDEZVOUS_SECRET_FILE are set: expected one");
  if (text.empty() && file.empty() && !one_machine)
    fail(
        "MASTER_ADDR is {}, which other machines reach: a run over several needs a secret that all its ranks are given, in "
        "FPF_RENDEZVOUS_SECRET (e.g. what openssl rand -hex 32 prints) or in the file that FPF_RENDEZVOUS_SECRET_FILE names; "
        "one of this machine alone has MASTER_ADDR=127.0.0.1",
        address);
  const std::string secret = !text.empty() ? text : !file.empty() ? detail::secret_of_file(file) : detail::own_secret();
  if (secret.size() < 16) fail("the rendezvous' secret has {} characters: expected 16 or more", secret.size());
  return secret;
}

}  // namespace fpf::parallel
