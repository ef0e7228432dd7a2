// The address where ranks meet, and rank 0's socket there.
#pragma once

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fpf/core/error.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf::parallel {

/// A host and port as sockets take it.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;

  int family() const { return address.ss_family; }
  /// "127.0.0.1", "::1".
  std::string text() const {
    std::array<char, 64> out{};
    ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, out.data(), out.size(), nullptr, 0,
                  NI_NUMERICHOST);
    return out.data();
  }
  bool is_loopback() const {
    const std::string own = text();
    return own == "::1" || own.starts_with("127.") || own.starts_with("::ffff:127.");
  }
};

/// What a host's name or address stands for on this machine, IPv4 first: rank 0 listens at the first. Throws Error when
/// it is no host's.
inline std::vector<Endpoint> endpoints_of(const std::string& host, std::uint16_t port) {
  addrinfo asked{}, *found = nullptr;
  asked.ai_socktype = SOCK_STREAM;
  asked.ai_flags = AI_NUMERICSERV;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &asked, &found); error != 0)
    fail("MASTER_ADDR {}: expected rank 0's host, found none of that name ({})", host, ::gai_strerror(error));
  std::vector<Endpoint> out;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    out.emplace_back();
    std::memcpy(&out.back().address, one->ai_addr, one->ai_addrlen);
    out.back().size = one->ai_addrlen;
  }
  ::freeaddrinfo(found);
  std::ranges::stable_sort(out, {}, [](const Endpoint& e) { return e.family() != AF_INET; });
  if (out.empty()) fail("MASTER_ADDR {}: it has no address of IPv4 or IPv6", host);
  return out;
}

/// A socket that listens at that address alone, not at the machine's others; the caller closes it. Nothing when the
/// port is in use. Throws Error when the address is none of this machine's.
inline std::optional<int> listen_at(const Endpoint& endpoint) {
  const int fd = ::socket(endpoint.family(), SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      ::bind(fd, reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.size) == 0 && ::listen(fd, 1024) == 0)
    return fd;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (error == EADDRINUSE) return std::nullopt;
  fail("rank 0 cannot listen at {}: {}{}", endpoint.text(), std::strerror(error),
       error == EADDRNOTAVAIL ? ": expected as MASTER_ADDR an address of the machine that rank 0 runs on" : "");
}

}  // namespace fpf::parallel
