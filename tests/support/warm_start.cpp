// Loading libtorch takes a program half a second, and tests start hundreds of them. Preloaded (LD_PRELOAD), this stops a
// program before its main(), loaded and with its libraries' constructors done, and goes on from there in a process of its own
// for every request of the test that started it (warm_start.hpp).
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

namespace {

using Main = int (*)(int, char**, char**);
Main program = nullptr;

/// What a process is to be: its folder, so many arguments and so many settings of its environment, and where it writes.
struct Request {
  std::vector<std::string> words;  // folder, number of arguments, arguments, NAME=value...
  std::array<int, 2> outputs{-1, -1};
};

/// False where nobody asks any more.
bool receive(int from, Request& request) {
  std::vector<char> text(1 << 18);
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
  iovec place{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* const attached = size > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (attached == nullptr || attached->cmsg_type != SCM_RIGHTS) return false;
  std::memcpy(request.outputs.data(), CMSG_DATA(attached), 2 * sizeof(int));
  request.words.clear();
  for (const char* word = text.data(); word < text.data() + size; word += std::strlen(word) + 1)
    request.words.emplace_back(word);
  return true;
}

/// The program itself, with what was asked for, but for the destructors of libraries, which take libtorch a fifth of a second:
/// they run where programs are started by programs (campaign), and where they are moved or installed.
[[noreturn]] void run(Request& request) {
  auto& words = request.words;
  const std::size_t count = std::stoul(words[1]);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (::chdir(words[0].c_str()) != 0 || ::dup2(nothing, 0) != 0 || ::dup2(request.outputs[0], 1) != 1 ||
      ::dup2(request.outputs[1], 2) != 2)
    ::_exit(127);
  ::close(nothing);
  std::vector<char*> arguments;
  for (std::size_t i = 0; i < count; ++i) arguments.push_back(words[2 + i].data());
  arguments.push_back(nullptr);
  for (std::size_t i = 2 + count; i < words.size(); ++i) ::putenv(words[i].data());
  const int code = program(static_cast<int>(count), arguments.data(), environ);
  std::cout.flush();
  std::fflush(nullptr);
  ::_exit(code);
}

/// Answers each request by the id of a process that is the test's own child, for this one's dies at once.
int serve(int argc, char** argv, char** environment) {
  const char* const given = std::getenv("FPF_WARM_START");
  if (given == nullptr) return program(argc, argv, environment);
  const int socket = std::atoi(given);
  ::unsetenv("FPF_WARM_START");
  ::unsetenv("LD_PRELOAD");
  ::fcntl(socket, F_SETFD, FD_CLOEXEC);
  Request request;
  while (receive(socket, request)) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) ::_exit(127);
    const pid_t between = ::fork();
    if (between == 0) {
      const pid_t own = ::fork();
      if (own == 0) {
        ::close(socket);
        run(request);
      }
      ::_exit(::write(pipe[1], &own, sizeof own) == sizeof own ? 0 : 1);
    }
    ::close(pipe[1]);
    pid_t own = -1;
    const ssize_t size = ::read(pipe[0], &own, sizeof own);
    ::close(pipe[0]);
    for (const int output : request.outputs) ::close(output);
    ::waitpid(between, nullptr, 0);  // from here on the test is its parent
    if (size != sizeof own || ::write(socket, &own, sizeof own) != sizeof own) break;
  }
  ::_exit(0);
}

}  // namespace

extern "C" int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                                 void (*loader_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  program = main;
  const auto start = reinterpret_cast<Start>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  return start(serve, argc, argv, init, fini, loader_fini, stack_end);
}
