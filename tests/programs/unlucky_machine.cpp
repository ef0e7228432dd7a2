// Limits and files that change under a program: an error that says so, never a signal and never a bug's exit code.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fpf/core/program.hpp>
#include <fpf/core/thread_limit.hpp>
#include <functional>
#include <new>

#include "compare_program.hpp"

BOOST_AUTO_TEST_SUITE(test_unlucky_machine)

namespace {

using fpf::MappedFile;

/// A program of its own whose main is run_program("unlucky", body).
Outcome as_program(const std::function<void()>& body) {
  const int err = ::memfd_create("stderr", MFD_CLOEXEC);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGBUS, SIG_DFL);  // the test's own
    ::dup2(err, STDERR_FILENO);
    ::_exit(fpf::run_program("unlucky", [&] {
      body();
      return 0;
    }));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  std::string text(static_cast<std::size_t>(::lseek(err, 0, SEEK_END)), '\0');
  BOOST_REQUIRE(::pread(err, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  ::close(err);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), "", text};
}

void limit(decltype(RLIMIT_AS) what, rlim_t most) {
  const rlimit both{most, most};
  ::setrlimit(what, &both);
}

/// What this process has of its address space, and so much more.
rlim_t memory_and(rlim_t more) {
  std::ifstream file("/proc/self/statm");
  rlim_t pages = 0;
  file >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + more;
}

Outcome shell(const std::string& command) { return run({"bash", "-c", command}); }

}  // namespace

BOOST_AUTO_TEST_CASE(a_file_that_shrinks_while_it_is_mapped_is_named) {
  for (const std::size_t padding : {0u, 64u}) {
    const std::string name = "shrinks\x1b.bin";
    write(fs::path(name), std::string(100'000, 'x'));
    const Outcome outcome = as_program([&] {
      const MappedFile before(name), file(name, padding);
      MappedFile moved(name);
      moved = MappedFile(name);
      fs::resize_file(name, 10);
      static_cast<void>(*static_cast<const volatile char*>(file.text().data() + 90'000));
    });
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(
        outcome.err ==
        "unlucky: error: cannot read shrinks\\x1b.bin: it was made shorter, or its disk failed, while it was read; "
        "it must stay as it is meanwhile\n");
  }
}

BOOST_AUTO_TEST_CASE(a_signal_that_is_no_files_stays_a_signal) {
  write(fs::path("other.bin"), std::string(100'000, 'x'));
  const Outcome outcome = as_program([&] {
    { const MappedFile gone("other.bin"); }
    const int fd = ::open("other.bin", O_RDONLY);
    const auto* bytes = static_cast<const volatile char*>(::mmap(nullptr, 100'000, PROT_READ, MAP_PRIVATE, fd, 0));
    fs::resize_file("other.bin", 10);
    static_cast<void>(bytes[90'000]);
  });
  BOOST_TEST(outcome.code == 128 + SIGBUS);
}

BOOST_AUTO_TEST_CASE(a_limit_of_file_sizes_is_an_error) {
  const std::string good = write("good.json", experiment());
  const Outcome outcome = shell("ulimit -f 1; " + program + " " + good + " --output large.json");
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, {"compare: error: cannot write large.json: File too large"}), outcome.err);
  BOOST_TEST(!fs::exists("large.json"));
}

BOOST_AUTO_TEST_CASE(few_open_files_are_enough_or_an_error) {
  const std::string good = write("good.json", experiment());
  const std::string few =
      "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd>&-\"; done; ulimit -n 4; exec ";  // none inherited
  const Outcome enough = shell(few + program + " " + good + " --json");
  BOOST_TEST(enough.code == 0, enough.err);
  const Outcome outcome = shell(few + program + " " + good + " --report few");
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, {"compare: error: ", "Too many open files"}), outcome.err);
}

BOOST_AUTO_TEST_CASE(memory_that_is_not_there_is_an_error) {
  const Outcome outcome = as_program([] {
    limit(RLIMIT_AS, memory_and(10 << 20));
    std::vector<char> large(1 << 30, 'x');
    fpf::tell("{}", large.back());
  });
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(mentions(outcome.err, {"unlucky: error: there is not enough memory", "ulimit -v"}), outcome.err);
  const Outcome libtorchs = as_program([] {
    throw std::runtime_error(
        "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.\nException raised from x");
  });
  BOOST_TEST(libtorchs.code == 2);
  BOOST_TEST(libtorchs.err.ends_with("you tried to allocate 9 bytes.\n"), libtorchs.err);
  const Outcome bug = as_program([] { throw std::runtime_error("what nobody thought of"); });
  BOOST_TEST(bug.code == 1);
  BOOST_TEST(bug.err == "unlucky: internal error, please report it: what nobody thought of\n");
}

BOOST_AUTO_TEST_CASE(threads_are_refused_above_what_is_possible) {
  BOOST_TEST(error_text([] { fpf::require_threads(64); }) == "no error");
  for (const int count : {-1, 0, 1025, 5000})
    BOOST_TEST(mentions(error_text([&] { fpf::require_threads(count); }),
                        {"--threads " + std::to_string(count), "at most 1024", "processors"}));
  const Outcome few = as_program([] {
    limit(RLIMIT_AS, memory_and(100 << 20));
    fpf::require_threads(1000);
  });
  BOOST_TEST(few.code == 2);
  BOOST_TEST(mentions(few.err, {"--threads 1000: the limits here let this process have"}), few.err);
}

BOOST_AUTO_TEST_CASE(a_reader_of_errors_that_is_gone_ends_nothing) {
  const Outcome outcome = as_program([] {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe(ends.data()) == 0);
    ::close(ends[0]);
    ::dup2(ends[1], STDERR_FILENO);
    fpf::fail("nobody reads this");
  });
  BOOST_TEST(outcome.code == 2);
}

// An experiment's .partial file would hold its messages.
BOOST_AUTO_TEST_CASE(no_file_becomes_a_stream_that_was_closed) {
  const Outcome outcome = as_program([] {
    for (const int fd : {0, 1, 2}) ::close(fd);
    ::_exit(fpf::run_program("closed", [] {
      const int file = ::open("closed.txt", O_WRONLY | O_CREAT | O_TRUNC, 0600);
      fpf::tell("this is for nobody");
      if (::write(STDOUT_FILENO, "x", 1) == 1) return 10;  // what writes to it fails as before
      return file > STDERR_FILENO ? 0 : 11;
    }));
  });
  BOOST_TEST(outcome.code == 0);
  BOOST_TEST(text_of("closed.txt") == "");
}

BOOST_AUTO_TEST_CASE(a_pipe_or_device_is_not_replaced_by_a_file) {
  fs::remove("pipe");
  BOOST_REQUIRE(::mkfifo("pipe", 0600) == 0);
  check_refused({write("good.json", experiment()), "--output", "pipe"}, {"cannot write pipe", "device or pipe"});
  BOOST_TEST(fs::is_fifo("pipe"));
}

BOOST_AUTO_TEST_SUITE_END()
