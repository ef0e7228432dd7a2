// Runs a program as a user would, for tests: arguments, working folder, signals, what it wrote, memory it
// took.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "warm_start.hpp"

/// How a program ended. `code` is its exit code, or 128 + the signal that killed it, as a shell says it.
struct Outcome {
  int code = 0;
  std::string out;              // standard output
  std::string err;              // standard error
  std::int64_t peak_bytes = 0;  // largest resident set
};

/// A started program. Its output goes to memory, so neither side ever waits for a pipe.
class Child {
 public:
  using Environment = warm_start::Environment;

  /// `args` begins with the program, looked up in PATH unless it has a slash; `folder` is where it runs.
  explicit Child(const std::vector<std::string>& args, const std::string& folder = ".",
                 const Environment& environment = {}) {
    out_ = ::memfd_create("stdout", MFD_CLOEXEC);
    err_ = ::memfd_create("stderr", MFD_CLOEXEC);
    if (out_ < 0 || err_ < 0) throw std::runtime_error("cannot start " + args.front());
    pid_ = warm_start::start(args, folder, environment, out_, err_);
    if (pid_ > 0) return;
    std::vector<char*> argv;
    for (const auto& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot start " + args.front());
    if (pid_ != 0) return;
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (::chdir(folder.c_str()) == 0 && ::dup2(nothing, 0) == 0 && ::dup2(out_, 1) == 1 && ::dup2(err_, 2) == 2)
      ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(out_);
    ::close(err_);
  }

  void send(int signal) const { ::kill(pid_, signal); }

  /// What it takes for itself: resident memory that is no file's, the most seen every two milliseconds until it ends.
  /// How much of a library's file is resident is the system's affair and varies from run to run.
  std::int64_t watch_anonymous() const {
    const std::string process = "/proc/" + std::to_string(pid_), status = process + "/status",
                      program = process + "/exe";
    const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe");
    std::int64_t most = 0;
    siginfo_t ended{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0) {
      std::error_code none;
      const bool is_itself =
          std::filesystem::read_symlink(program, none) != own;  // before exec it is this program's copy
      std::ifstream lines(status);
      for (std::string line; is_itself && std::getline(lines, line);)
        if (line.starts_with("RssAnon:")) most = std::max<std::int64_t>(most, std::stoll(line.substr(8)) * 1024);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return most;
  }

  Outcome wait() {
    int status = 0;
    rusage usage{};
    if (::wait4(std::exchange(pid_, -1), &status, 0, &usage) < 0) throw std::runtime_error("wait4 failed");
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), content(out_), content(err_),
            std::int64_t{usage.ru_maxrss} * 1024};
  }

 private:
  static std::string content(int fd) {
    std::string text(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    const auto count = ::pread(fd, text.data(), text.size(), 0);
    if (count != static_cast<ssize_t>(text.size())) throw std::runtime_error("cannot read a program's output");
    return text;
  }

  int out_ = -1, err_ = -1;
  pid_t pid_ = -1;
};

/// Runs a program to its end.
inline Outcome run(const std::vector<std::string>& args, const std::string& folder = ".",
                   const Child::Environment& environment = {}) {
  return Child(args, folder, environment).wait();
}
