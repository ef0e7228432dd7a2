// One process a rank, as a launcher starts them: the same bits as threads, and one clear end for all when one fails.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_launcher)

namespace {

using Clock = std::chrono::steady_clock;

/// A listening socket of this machine, on a port of its own.
class Port {
 public:
  Port() : socket_(::socket(AF_INET6, SOCK_STREAM, 0)) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_any;
    socklen_t size = sizeof address;
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(socket_, 1) != 0 ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no port is free");
    number_ = ntohs(address.sin6_port);
  }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  ~Port() { ::close(socket_); }

  std::string number() const { return std::to_string(number_); }

 private:
  int socket_;
  int number_ = 0;
};

std::string free_port() { return Port().number(); }

Child::Environment place(int rank, int size, const std::string& port) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", port}};
}

/// Experiment 7's or 8's command into `out`.
Strings command(const std::string& out, const Strings& more = {}, const std::string& program = "exp7_tensor_parallel") {
  fresh_folder(out);
  Strings all{"--quiet"};
  if (std::ranges::find(more, "--rank-timeout") == more.end()) all.insert(all.end(), {"--rank-timeout", "3"});
  all.insert(all.end(), more.begin(), more.end());
  return Inputs::command(program, out, all);
}

/// How the processes of one run end; `commands` holds each rank's.
std::vector<Outcome> launch(const std::vector<Strings>& commands, const std::string& port = free_port()) {
  std::vector<std::unique_ptr<Child>> ranks;
  for (std::size_t r = 0; r < commands.size(); ++r)
    ranks.push_back(
        std::make_unique<Child>(commands[r], ".", place(static_cast<int>(r), static_cast<int>(commands.size()), port)));
  std::vector<Outcome> out;
  for (const auto& rank : ranks) out.push_back(rank->wait());
  return out;
}

/// Every rank has ended as a user's mistake does, with one message that has these words, and left no file.
void check_refused(const std::vector<Outcome>& ends, const Strings& words, const std::string& folder) {
  for (std::size_t r = 0; r < ends.size(); ++r) {
    BOOST_TEST(ends[r].code == 2, "rank " << r << ": " << ends[r].code << ", " << ends[r].err);
    BOOST_TEST(mentions(ends[r].err, words), "rank " << r << ": " << ends[r].err);
    BOOST_TEST(ends[r].err == ends[0].err);
  }
  BOOST_TEST(names_in(folder).empty());
}

const std::string file = "tensor_parallel_experiment.json";

}  // namespace

BOOST_AUTO_TEST_CASE(processes_have_the_bits_of_threads) {
  BOOST_REQUIRE_EQUAL(run(command("threads", {"--tp", "2"})).code, 0);
  const auto ends = launch({command("processes"), command("processes")});
  for (const Outcome& end : ends) BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
  BOOST_CHECK(signals_of(read("processes/" + file)) == signals_of(read("threads/" + file)));
  const json configuration = read("processes/" + file).at("configurations").back();
  BOOST_TEST(configuration.at("manifest").at("communicator").at("kind") == "processes");
  BOOST_TEST(configuration.at("manifest").at("ranks").size() == 2u);
}

BOOST_AUTO_TEST_CASE(experts_divide_over_processes) {
  const std::string own = "expert_parallel_experiment.json";
  const Strings placement{"--placement", "round_robin"};
  BOOST_REQUIRE_EQUAL(
      run(command("ep-threads", {"--ep", "2", "--placement", "round_robin"}, "exp8_expert_parallel")).code, 0);
  for (const Outcome& end : launch({command("ep-processes", placement, "exp8_expert_parallel"),
                                    command("ep-processes", placement, "exp8_expert_parallel")}))
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
  BOOST_CHECK(signals_of(read("ep-processes/" + own)) == signals_of(read("ep-threads/" + own)));
}

BOOST_AUTO_TEST_CASE(torchrun_starts_the_same_binary) {
  Strings torchrun{python.string(),    "-m", "torch.distributed.run", "--no-python",
                   "--nproc-per-node", "2",  "--master-port",         free_port()};
  const Strings own = command("torchrun");
  torchrun.insert(torchrun.end(), own.begin(), own.end());
  const Outcome end = run(torchrun);
  BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
  BOOST_CHECK(signals_of(read("torchrun/" + file)).size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_come_is_named) {
  const auto alone = Child(command("alone"), ".", place(0, 2, free_port())).wait();
  check_refused({alone}, {"rank 1 of 2 has not come to 127.0.0.1:", "3 s"}, "alone");
  const auto other = Child(command("other"), ".", place(1, 2, free_port())).wait();
  check_refused({other}, {"rank 1 does not reach rank 0 at 127.0.0.1:", "3 s"}, "other");
}

BOOST_AUTO_TEST_CASE(unequal_options_and_models_are_named) {
  check_refused(launch({command("options"), command("options", {"--reps", "2"})}),
                {"rank 1 has another --reps than rank 0: 2 instead of 3"}, "options");
  fresh_folder("here");
  fresh_folder("there");
  fs::copy("inputs", "here/inputs", fs::copy_options::recursive);
  fs::copy("inputs", "there/inputs", fs::copy_options::recursive);
  json config = read("there/inputs/config.json");
  config["rope_theta"] = 20000.0;
  write("there/inputs/config.json", config.dump());
  const std::string port = free_port();
  const Strings own = command(fs::absolute("models").string());
  Child first(own, "here", place(0, 2, port)), second(own, "there", place(1, 2, port));
  check_refused({first.wait(), second.wait()}, {"rank 1 has another model than rank 0"}, "models");
}

BOOST_AUTO_TEST_CASE(one_ranks_error_ends_all) {
  const std::string missing = fs::absolute("no-such-baseline.json").string();
  const Strings own = command("error", {"--baseline", missing});
  Strings once;  // Inputs::command gives --baseline already
  for (std::size_t i = 0; i < own.size(); ++i)
    if (own[i] == "--baseline" && own[i + 1] != missing)
      ++i;
    else
      once.push_back(own[i]);
  check_refused(launch({once, once}), {"rank 0: ", "no-such-baseline.json"}, "error");
}

BOOST_AUTO_TEST_CASE(a_killed_rank_ends_the_others_in_time) {
  for (const int killed : {1, 0}) {
    const std::string folder = "killed" + std::to_string(killed), port = free_port();
    const Strings own = command(folder, {"--reps", "100000"});
    std::vector<std::unique_ptr<Child>> ranks;
    for (int r = 0; r < 2; ++r) ranks.push_back(std::make_unique<Child>(own, ".", place(r, 2, port)));
    std::this_thread::sleep_for(std::chrono::seconds(4));
    ranks[static_cast<std::size_t>(killed)]->send(SIGKILL);
    const auto start = Clock::now();
    const Outcome end = ranks[static_cast<std::size_t>(1 - killed)]->wait();
    BOOST_TEST(end.code == 2, end.err);
    BOOST_TEST(mentions(end.err, killed == 1 ? Strings{"rank 1 of 2 shows no sign of life"}
                                             : Strings{"rank 0, where all ranks meet", "is gone"}),
               end.err);
    BOOST_TEST(std::chrono::duration<double>(Clock::now() - start).count() < 30);
    BOOST_TEST(!fs::exists(fs::path(folder) / file));
  }
}

BOOST_AUTO_TEST_CASE(an_interrupted_rank_ends_the_others) {
  const std::string port = free_port();
  const Strings own = command("interrupted", {"--reps", "100000"});
  Child first(own, ".", place(0, 2, port)), second(own, ".", place(1, 2, port));
  std::this_thread::sleep_for(std::chrono::seconds(4));
  second.send(SIGINT);
  BOOST_TEST(second.wait().code == 130);
  const Outcome end = first.wait();
  BOOST_TEST(end.code == 2);
  BOOST_TEST(mentions(end.err, {"rank 1 was interrupted"}), end.err);
  BOOST_TEST(!fs::exists(fs::path("interrupted") / file));
}

BOOST_AUTO_TEST_CASE(a_port_in_use_is_named) {
  const Port taken;
  const Outcome end = Child(command("port"), ".", place(0, 2, taken.number())).wait();
  check_refused({end}, {"MASTER_PORT " + taken.number(), "in use"}, "port");
}

BOOST_AUTO_TEST_CASE(ranks_and_processes_must_be_as_many) {
  check_refused(launch({command("many", {"--tp", "4"}), command("many", {"--tp", "4"})}), {"4 ranks", "launcher", "2"},
                "many");
}

// Experiments 0 to 6 are one process's work: they wait for nobody.
BOOST_AUTO_TEST_CASE(what_has_no_ranks_does_not_wait_for_others) {
  const auto command_of = [](const std::string& program, const std::string& folder, const Strings& more = {}) {
    return Inputs::command(program, fresh_folder(folder), more);
  };
  const auto start = Clock::now();
  // Started by a launcher, each process would write the same file.
  const Strings single = command_of("exp0_reference", "single");
  const auto ends = launch({single, single});
  for (std::size_t r = 0; r < ends.size(); ++r) {
    BOOST_TEST(ends[r].code == 2);
    BOOST_TEST(mentions(ends[r].err, {"RANK is " + std::to_string(r), "WORLD_SIZE is 2", "exp0_reference",
                                      "without the launcher", "env -u RANK -u WORLD_SIZE"}),
               ends[r].err);
  }
  BOOST_TEST(names_in("single").empty());
  // Left over from something else: there is no rank.
  const Outcome alone =
      run(command_of("exp0_reference", "left"), ".", {{"WORLD_SIZE", "4"}, {"MASTER_ADDR", "127.0.0.1"}});
  BOOST_TEST(alone.code == 0, alone.err);
  BOOST_TEST(mentions(alone.err, {"WORLD_SIZE is 4 without a RANK", "runs alone"}), alone.err);
  BOOST_TEST(signals_of(read("left/reference_baseline.json")) ==
             signals_of(read("inputs/none/reference_baseline.json")));
  const Outcome quiet = run(command_of("exp2_compile", "quiet", {"--quiet"}), ".", {{"WORLD_SIZE", "many"}});
  BOOST_TEST(quiet.code == 0);
  BOOST_TEST(quiet.err == "");
  const Outcome one = run(command_of("exp0_reference", "one"), ".", {{"WORLD_SIZE", "1"}, {"RANK", "0"}});
  BOOST_TEST(one.code == 0);
  BOOST_TEST(!mentions(one.err, {"WORLD_SIZE"}), one.err);
  BOOST_TEST(std::chrono::duration<double>(Clock::now() - start).count() < 30);
}

BOOST_AUTO_TEST_CASE(unequal_world_sizes_and_a_rank_twice_are_named) {
  const std::string first = free_port(), second = free_port();
  const Strings sizes = command("sizes", {"--rank-timeout", "60"}), twice = command("twice", {"--rank-timeout", "60"});
  Child two(sizes, ".", place(0, 2, first)), three(sizes, ".", place(1, 3, first));
  check_refused({two.wait(), three.wait()}, {"WORLD_SIZE is", "2 for rank", "3 for rank"}, "sizes");
  Child zero(twice, ".", place(0, 3, second)), one(twice, ".", place(1, 3, second)),
      again(twice, ".", place(1, 3, second));
  check_refused({zero.wait(), one.wait(), again.wait()}, {"rank 1 is used twice at 127.0.0.1:" + second}, "twice");
}

BOOST_AUTO_TEST_CASE(several_machines_need_a_secret_of_both) {
  auto there = place(0, 2, free_port());
  for (auto& [name, value] : there)
    if (name == "MASTER_ADDR") value = "192.0.2.77";
  const Outcome end = Child(command("secret"), ".", there).wait();
  check_refused({end}, {"MASTER_ADDR is 192.0.2.77", "FPF_RENDEZVOUS_SECRET"}, "secret");
}

BOOST_AUTO_TEST_CASE(a_launchers_incomplete_words_are_named) {
  for (const char* timeout : {"0", "1e300", "nan"})
    check_refused({run(Inputs::command("exp7_tensor_parallel", fresh_folder("words"), {"--rank-timeout", timeout}))},
                  {"--rank-timeout", "from 0.1 to 1000000"}, "words");
  const Outcome end = run(command("words"), ".", {{"WORLD_SIZE", "2"}, {"RANK", "two"}});
  check_refused({end}, {"RANK is 'two'", "WORLD_SIZE is 2", "without one unset WORLD_SIZE"}, "words");
}

BOOST_AUTO_TEST_SUITE_END()
