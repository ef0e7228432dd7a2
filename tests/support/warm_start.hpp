// Processes of programs that are loaded once a test program (warm_start.cpp).
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warm_start {

using Environment = std::vector<std::pair<std::string, std::string>>;

/// Whether this environment changes nothing that libraries read while they are loaded.
inline bool comes_after_loading(const Environment& environment) {
  return std::ranges::all_of(environment, [](const auto& setting) {
    return std::ranges::any_of(std::array{"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "FPF_"},
                               [&](const char* start) { return setting.first.starts_with(start); });
  });
}

/// A program that waits before its main() to be asked for processes.
class Server {
 public:
  explicit Server(const std::string& program) {
    int ends[2];
    std::ifstream file(program, std::ios::binary);
    const std::string content(std::istreambuf_iterator<char>(file), {});
    if (content.find("libtorch_cpu.so") == std::string::npos) return;  // others are loaded in milliseconds
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (::fork() == 0) {
      ::fcntl(ends[1], F_SETFD, 0);
      ::setenv("FPF_WARM_START", std::to_string(ends[1]).c_str(), 1);
      ::setenv("LD_PRELOAD", FPF_WARM_START, 1);
      ::execl(program.c_str(), program.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(ends[1]);
    socket_ = ends[0];
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// A child of this process, or -1 where this program cannot be had so.
  pid_t start(const std::vector<std::string>& args, const std::string& folder, const Environment& environment, int out,
              int err) const {
    if (socket_ < 0) return -1;
    std::string words = std::filesystem::absolute(folder).string() + '\0' + std::to_string(args.size()) + '\0';
    for (const auto& arg : args) words += arg + '\0';
    for (const auto& [name, value] : environment) words += name + "=" + value + '\0';
    alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))]{};
    iovec place{words.data(), words.size()};
    msghdr message{};
    message.msg_iov = &place;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const attached = CMSG_FIRSTHDR(&message);
    attached->cmsg_level = SOL_SOCKET;
    attached->cmsg_type = SCM_RIGHTS;
    attached->cmsg_len = CMSG_LEN(2 * sizeof(int));
    const int outputs[2]{out, err};
    std::memcpy(CMSG_DATA(attached), outputs, sizeof outputs);
    pid_t pid = -1;
    if (::sendmsg(socket_, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(words.size()) ||
        ::read(socket_, &pid, sizeof pid) != sizeof pid)
      return -1;
    return pid;
  }

 private:
  int socket_ = -1;  // open as long as this process lives: its end is the server's
};

/// A process of the program that `args` begins with, or -1: then it is to be started as any other.
inline pid_t start(const std::vector<std::string>& args, const std::string& folder, const Environment& environment,
                   int out, int err) {
#ifdef __SANITIZE_ADDRESS__  // its runtime must be the first of all libraries
  return -1;
#endif
  const bool plain = std::ranges::none_of(args, [](const auto& arg) { return arg.find('\0') != std::string::npos; });
  if (!plain || args.front().find('/') == std::string::npos || !comes_after_loading(environment)) return -1;
  static std::map<std::string, Server> servers;
  return servers.try_emplace(args.front(), args.front()).first->second.start(args, folder, environment, out, err);
}

}  // namespace warm_start
