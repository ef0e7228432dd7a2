// Work in a child process under limits, its output taken, never outliving this process: a program as a function of its
// standard input, or a function of this program.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <exception>
#include <fpf/core/error.hpp>
#include <fpf/core/interrupt.hpp>
#include <fstream>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf {

/// What a child may use. It can write no file (RLIMIT_FSIZE) and leaves no core.
struct ChildLimits {
  double wall_seconds = 60;
  rlim_t cpu_seconds = 20;
  rlim_t memory_bytes = rlim_t{1} << 30;  // of its address space; of a function, beside what this process has
  std::size_t output_bytes = std::size_t{64} << 20;  // of what it may write, standard output and error each
};

/// How a child ended, and what it wrote.
struct ChildOutput {
  enum class End {
    exited,       // by itself, with `code`
    signalled,    // by the signal `code` that was not ours
    out_of_time,  // wall or CPU
    too_long      // its output
  };
  End end = End::exited;
  int code = 0;
  std::string out, err;
};

namespace detail {

/// Two ends of a stream; what is still open is closed at destruction. A pair of sockets, since writing to one whose
/// other end is gone need not raise SIGPIPE.
class StreamPair {
 public:
  StreamPair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) != 0)
      fail("cannot start a program: {}", std::strerror(errno));
  }
  StreamPair(const StreamPair&) = delete;
  StreamPair& operator=(const StreamPair&) = delete;
  ~StreamPair() {
    close_ours();
    close_childs();
  }
  int ours() const { return ends_[0]; }  // -1 once closed
  int childs() const { return ends_[1]; }
  void close_ours() { close_end(0); }
  void close_childs() { close_end(1); }

  /// Sends the start of `text`; how much of it went.
  std::size_t send(std::string_view text) {
    const ssize_t count = ::send(ours(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno != EAGAIN && errno != EINTR) close_ours();  // the child reads no more
    return 0;
  }
  /// Appends what is there to read; closes at its end.
  void receive(std::string& out) {
    std::array<char, 1 << 16> buffer;
    const ssize_t count = ::recv(ours(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count > 0) out.append(buffer.data(), static_cast<std::size_t>(count));
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) close_ours();
  }

 private:
  void close_end(std::size_t end) {
    if (ends_[end] >= 0) ::close(std::exchange(ends_[end], -1));
  }
  std::array<int, 2> ends_{-1, -1};
};

/// In the child, right behind fork(): calls that are safe there alone.
inline void enter_child(const std::array<int, 3>& streams, const ChildLimits& limits, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died in between
  ::setpgid(0, 0);
  for (int i = 0; i < 3; ++i) ::dup2(streams[static_cast<std::size_t>(i)], i);
  const auto limit = [](auto what, rlim_t soft, rlim_t hard) {
    const rlimit both{soft, hard};
    ::setrlimit(what, &both);
  };
  limit(RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1);  // SIGXCPU first, so that it is known why
  limit(RLIMIT_AS, limits.memory_bytes, limits.memory_bytes);
  limit(RLIMIT_FSIZE, 0, 0);
  limit(RLIMIT_CORE, 0, 0);
}

/// Bytes of this process's address space.
inline rlim_t address_space() {
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  if (!(statm >> pages)) fail("cannot start a child process: /proc/self/statm cannot be read");
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

/// In the child: no handler, lock or descriptor of the parent's is of use to it, and a fault must end it.
inline void leave_parent_behind() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::close_range(3, ~0u, 0);
}

inline void write_to(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno != EINTR) return;
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }
}

/// Runs `enter()` in a child that enter_child() has readied and that ends there, gives it `input`, and waits for it.
template <class Enter>
ChildOutput run_child(const std::string& name, std::string_view input, const ChildLimits& limits, Enter enter) {
  using End = ChildOutput::End;
  StreamPair in, out, err;
  const std::array<int, 3> streams{in.childs(), out.childs(), err.childs()};
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) fail("cannot start {}: {}", name, std::strerror(errno));
  if (child == 0) {
    enter_child(streams, limits, parent);
    enter();
    ::_exit(127);
  }
  for (auto* stream : {&in, &out, &err}) stream->close_childs();
  ::setpgid(child, child);  // whoever is first; so that the group can be killed from now on

  ChildOutput result;
  const auto start = std::chrono::steady_clock::now();
  for (bool ended = false, killed = false; !ended;) {
    if (input.empty()) in.close_ours();
    std::array<pollfd, 3> ready{{{in.ours(), POLLOUT, 0}, {out.ours(), POLLIN, 0}, {err.ours(), POLLIN, 0}}};
    ::poll(ready.data(), ready.size(), 10);
    if ((ready[0].revents & POLLOUT) != 0) input.remove_prefix(in.send(input));
    if ((ready[0].revents & (POLLERR | POLLHUP)) != 0) in.close_ours();
    siginfo_t info{};
    ended = ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
    if (ready[1].revents != 0) out.receive(result.out);
    if (ready[2].revents != 0) err.receive(result.err);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    if (passed.count() > limits.wall_seconds) result.end = End::out_of_time;
    if (std::max(result.out.size(), result.err.size()) > limits.output_bytes) result.end = End::too_long;
    if (!ended && !killed && (result.end != End::exited || detail::interrupt_requested != 0)) {
      ::kill(-child, SIGKILL);
      killed = true;
    }
  }
  ::kill(-child, SIGKILL);  // what it may have started itself; the group is there until the child is waited for
  int status = 0;
  ::waitpid(child, &status, 0);
  for (auto [stream, text] : {std::pair{&out, &result.out}, {&err, &result.err}})
    for (std::size_t before = 0; stream->ours() >= 0 && text->size() <= limits.output_bytes; before = text->size()) {
      stream->receive(*text);
      if (text->size() == before) break;
    }
  check_interrupt();
  if (result.end != End::exited) return result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
  if (!WIFEXITED(status)) result.end = result.code == SIGXCPU ? End::out_of_time : End::signalled;
  if (result.end == End::exited && std::max(result.out.size(), result.err.size()) > limits.output_bytes)
    result.end = End::too_long;
  return result;
}

}  // namespace detail

/// Runs a program (args[0]: its path) on `input` and waits for it; an interrupt of this process kills it and throws
/// Interrupted. Exit code 127: it could not be started. Throws Error when no process can be made.
inline ChildOutput run_piped(const std::vector<std::string>& args, std::string_view input, const ChildLimits& limits) {
  std::vector<char*> argv;
  for (const auto& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  return detail::run_child(args.front(), input, limits, [&] { ::execv(argv[0], argv.data()); });
}

/// Runs `work(out, err)` in a copy of this process, which returns an exit code, and gives what it put into the two
/// strings; the rest as run_piped(). It sees this process's memory as it is and changes none of it. Exit code 126: out
/// of memory, as far as that came as std::bad_alloc; 125: another exception, its text in `err`. Only the calling thread
/// is in the copy: the work must need none of the others, nor a lock that one of them may hold; where it waits for one
/// all the same, it runs out of time. (The allocator's locks are not of these: glibc hands them on unlocked.)
template <class Work>
ChildOutput run_forked(const std::string& name, ChildLimits limits, Work work) {
  limits.memory_bytes += detail::address_space();
  return detail::run_child(name, {}, limits, [&] {
    detail::leave_parent_behind();
    int code = 126;
    try {
      std::string out, err;
      try {
        code = work(out, err);
      } catch (const std::bad_alloc&) {
        ::_exit(126);
      } catch (const std::exception& error) {
        code = 125;
        err = error.what();
      }
      detail::write_to(STDOUT_FILENO, out);
      detail::write_to(STDERR_FILENO, err);
    } catch (...) {
    }
    ::_exit(code);
  });
}

}  // namespace fpf
