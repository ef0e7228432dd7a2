// Where ranks meet: at one address, with a secret, each number once.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/parallel/world.hpp>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_rendezvous)

using namespace fpf;
using parallel::Endpoint, parallel::Launch, parallel::SignedStore, parallel::World;
namespace fs = std::filesystem;

namespace {

const std::string secret = "a secret of this test alone";

std::uint16_t free_port() {
  Endpoint any = parallel::endpoints_of("127.0.0.1", 0).front();
  const int fd = *parallel::listen_at(any);
  sockaddr_in found{};
  socklen_t size = sizeof found;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&found), &size);
  ::close(fd);
  return ntohs(found.sin_port);
}

Launch place(int rank, int size, std::uint16_t port) {
  Launch out;
  out.rank = rank;
  out.size = size;
  out.address = "127.0.0.1";
  out.port = port;
  out.hosts_store = rank == 0;
  out.run = "test";
  out.secret = secret;
  return out;
}

/// Ranks as threads of this process: what each ended with, "" where it met the others, agreed and left.
std::vector<std::string> errors_of(const std::vector<Launch>& launches, double limit = 60) {
  std::vector<std::string> out(launches.size());
  {
    std::vector<std::jthread> ranks;
    for (std::size_t i = 0; i < launches.size(); ++i)
      ranks.emplace_back([&, i] {
        try {
          World world(launches[i], World::Seconds(limit), {{"program", "test"}});
          world.agree({{"model", "tiny"}});
          world.leave();
        } catch (const std::exception& error) {
          out[i] = error.what();
        }
      });
  }
  return out;
}

/// Somebody who reaches the store and does not know the secret.
c10::intrusive_ptr<c10d::TCPStore> stranger(std::uint16_t port) {
  c10d::TCPStoreOptions options;
  options.port = port;
  options.waitWorkers = false;
  options.timeout = std::chrono::seconds(60);
  return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

bool is_reached(const std::string& host, std::uint16_t port) {
  const Endpoint there = parallel::endpoints_of(host, port).front();
  const int fd = ::socket(there.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool reached = ::connect(fd, reinterpret_cast<const sockaddr*>(&there.address), there.size) == 0;
  ::close(fd);
  return reached;
}

std::vector<std::uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

/// A variable as a launcher would set it, for as long as this lives.
class Set {
 public:
  Set(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;
  ~Set() { ::unsetenv(name_); }

 private:
  const char* name_;
};

std::string launch_error(const std::string& address) {
  const Set size("WORLD_SIZE", "2"), rank("RANK", "0"), port("MASTER_PORT", "29500"), host("MASTER_ADDR", address);
  return error_text([] { Launch::from_environment(); });
}

}  // namespace

// First of all, before libtorch has threads: they read the environment.
BOOST_AUTO_TEST_CASE(several_machines_need_a_secret) {
  BOOST_TEST(mentions(launch_error("192.0.2.77"), {"MASTER_ADDR is 192.0.2.77", "FPF_RENDEZVOUS_SECRET"}));
  BOOST_TEST(mentions(launch_error("no such host"), {"MASTER_ADDR no such host", "rank 0's host"}));
  {
    const Set own("FPF_RENDEZVOUS_SECRET", secret);
    BOOST_TEST(launch_error("192.0.2.77") == "no error");
    const Set file("FPF_RENDEZVOUS_SECRET_FILE", "secret.txt");
    BOOST_TEST(mentions(launch_error("192.0.2.77"), {"FPF_RENDEZVOUS_SECRET_FILE", "expected one"}));
  }
  {
    const Set own("FPF_RENDEZVOUS_SECRET", "short");
    BOOST_TEST(mentions(launch_error("192.0.2.77"), {"5 characters", "16 or more"}));
  }
  const Set file("FPF_RENDEZVOUS_SECRET_FILE", "secret.txt");
  fs::remove("secret.txt");
  BOOST_TEST(mentions(launch_error("192.0.2.77"), {"FPF_RENDEZVOUS_SECRET_FILE secret.txt", "first line"}));
  std::ofstream("secret.txt") << secret << "\n";
  ::chmod("secret.txt", 0644);
  BOOST_TEST(mentions(launch_error("192.0.2.77"), {"secret.txt", "read by others", "chmod 600"}));
  ::chmod("secret.txt", 0600);
  BOOST_TEST(launch_error("192.0.2.77") == "no error");
}

BOOST_AUTO_TEST_CASE(one_machines_ranks_share_a_secret_of_their_user) {
  remove_tree("cache");  // libtorch brings a std::filesystem::remove_all that crashes
  const Set cache("XDG_CACHE_HOME", fs::absolute("cache").string());
  const Set size("WORLD_SIZE", "2"), rank("RANK", "1"), port("MASTER_PORT", "29500"), host("MASTER_ADDR", "127.0.0.1");
  const auto made = Launch::from_environment()->secret;
  BOOST_TEST(made.size() == 64u);
  BOOST_TEST(Launch::from_environment()->secret == made);
  struct stat status {};
  BOOST_REQUIRE(::stat("cache/fpf/rendezvous-secret", &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0600u);
}

BOOST_AUTO_TEST_CASE(the_store_listens_at_one_address_alone) {
  const std::uint16_t port = free_port();
  bool reached = false, elsewhere = true;
  std::jthread first([&] { errors_of({place(0, 2, port)}); });
  for (int i = 0; i < 1000 && !reached; ++i) {
    reached = is_reached("127.0.0.1", port);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  elsewhere = is_reached("127.0.0.2", port);  // another address of this machine
  BOOST_TEST(reached);
  BOOST_TEST(!elsewhere);
  BOOST_TEST(errors_of({place(1, 2, port)})[0] == "");
  first.join();
  BOOST_TEST(mentions(error_text([&] { parallel::listen_at(parallel::endpoints_of("192.0.2.77", port).front()); }),
                      {"192.0.2.77", "MASTER_ADDR", "an address of the machine that rank 0 runs on"}));
}

BOOST_AUTO_TEST_CASE(ranks_that_fit_meet_and_leave) {
  const std::uint16_t port = free_port();
  BOOST_TEST((errors_of({place(0, 2, port), place(1, 2, port)}) == std::vector<std::string>{"", ""}));
}

BOOST_AUTO_TEST_CASE(what_is_not_signed_is_as_if_it_were_not_there) {
  const std::uint16_t port = free_port();
  const int fd = *parallel::listen_at(parallel::endpoints_of("127.0.0.1", port).front());
  c10d::TCPStoreOptions options;
  options.port = port;
  options.isServer = true;
  options.waitWorkers = false;
  options.masterListenFd = fd;
  const auto server = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  SignedStore own(server, secret), other(server, "another secret of this test");
  const auto forger = stranger(port);
  own.set("a", "value");
  BOOST_TEST(own.get("a").value() == "value");
  BOOST_TEST(!other.has("a"));
  for (const std::string forged : {"", "value", "a value that is as long as any with a seal before it"}) {
    forger->set("b", bytes(forged));
    BOOST_TEST(!own.has("b"));
    BOOST_TEST(own.is_taken("b"));
  }
  forger->set("c", forger->get("a"));  // another name's
  BOOST_TEST(!own.has("c"));
  auto changed = forger->get("a");
  changed.back() ^= 1;
  forger->set("a", changed);
  BOOST_TEST(!own.has("a"));
  BOOST_TEST(own.set_first("b", "own") == "own");  // instead of what the stranger put there
  BOOST_TEST(own.set_first("b", "late") == "own");
}

BOOST_AUTO_TEST_CASE(strangers_neither_join_nor_end_a_run) {
  const std::uint16_t port = free_port();
  std::vector<std::string> ends(1);
  std::jthread first([&] { ends = errors_of({place(0, 2, port)}); });
  const auto forger = stranger(port);
  forger->set("fpf/test/joined/1",
              bytes(R"({"description": {"program": "test"}, "size": 2, "process": "x", "nonce": ""})"));
  forger->set("fpf/test/failure", bytes("rank 7: there is no rank 7"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto second = errors_of({place(1, 2, port)});
  first.join();
  BOOST_TEST(ends[0] == "");
  BOOST_TEST(second[0] == "");
}

BOOST_AUTO_TEST_CASE(ranks_of_another_secret_are_named) {
  const std::uint16_t port = free_port();
  Launch other = place(1, 2, port);
  other.secret = "what another run was given";
  const auto ends = errors_of({place(0, 2, port), other}, 4);
  BOOST_TEST(mentions(ends[0], {"rank 1 of 2 has not come", "FPF_RENDEZVOUS_SECRET"}), ends[0]);
  BOOST_TEST(mentions(ends[1], {"rank 0 of 2 has not come", "FPF_RENDEZVOUS_SECRET"}), ends[1]);
}

BOOST_AUTO_TEST_CASE(a_rank_number_used_twice_is_named_by_all) {
  for (const std::vector<int>& ranks : {std::vector{0, 1, 1}, std::vector{0, 0, 1}}) {
    const std::uint16_t port = free_port();
    std::vector<Launch> launches;
    for (const int rank : ranks) launches.push_back(place(rank, 3, port));
    const std::string twice = fmt::format("rank {} is used twice at 127.0.0.1:{}", ranks[1], port);
    for (const std::string& end : errors_of(launches)) BOOST_TEST(mentions(end, {twice, "RANK"}), end);
  }
}

BOOST_AUTO_TEST_CASE(unequal_world_sizes_are_named_by_all) {
  for (const auto& [a, b] : {std::pair(2, 3), std::pair(3, 2)}) {
    const std::uint16_t port = free_port();
    for (const std::string& end : errors_of({place(0, a, port), place(1, b, port)}))
      BOOST_TEST(mentions(end, {"WORLD_SIZE is", "2 for rank", "3 for rank", "the same for all"}), end);
  }
}

BOOST_AUTO_TEST_CASE(a_program_that_never_answers_is_waited_for_in_vain) {
  const Endpoint here = parallel::endpoints_of("127.0.0.1", 0).front();
  const int fd = *parallel::listen_at(here);  // open to the end: who waits for it goes on waiting
  sockaddr_in found{};
  socklen_t size = sizeof found;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&found), &size);
  const std::uint16_t port = ntohs(found.sin_port);
  const auto ends = errors_of({place(0, 2, port), place(1, 2, port)}, 1);
  BOOST_TEST(mentions(ends[0], {"rank 0: MASTER_PORT " + std::to_string(port), "in use"}), ends[0]);
  BOOST_TEST(mentions(ends[1], {"rank 1 does not reach rank 0 at 127.0.0.1:" + std::to_string(port)}), ends[1]);
}

BOOST_AUTO_TEST_SUITE_END()
