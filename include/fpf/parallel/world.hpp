// The processes of one run, one rank each: they meet, agree on what they run, watch over one another, and leave
// together.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <fpf/core/json.hpp>
#include <fpf/core/text.hpp>
#include <fpf/parallel/communicator.hpp>
#include <fpf/parallel/launcher.hpp>
#include <fpf/parallel/signed_store.hpp>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace fpf::parallel {

/// Joined by every process that a launcher started. Whatever goes wrong in one ends all of them within the time limit,
/// with one message that names the rank: the first is kept where all meet (libtorch's TCPStore), and a thread of every
/// process looks for it and for ranks that show no sign of life.
///
/// Rank 0 keeps the store at MASTER_ADDR's address alone; torchrun's agent keeps its own, at all of its machine's.
/// Every value is signed with the run's secret (Launch::secret), from when all have met also with random numbers of all
/// of them, so that strangers' values, and those of an earlier run, are ignored. What is said is not hidden, a stranger
/// who reaches the store can end a run, and NCCL's own connections are NCCL's: not on a network of others.
class World {
 public:
  using Seconds = std::chrono::duration<double>;

  /// Meets the other ranks. `description` is what all must agree in, field by field. Throws Error when they do not,
  /// when a rank has not come within `limit`, and when a rank's number is taken or WORLD_SIZE is not the same for all.
  World(Launch launch, Seconds limit, const nlohmann::json& description)
      : launch_(std::move(launch)), limit_(limit), tcp_(connect()), lobby_(tcp_, launch_.secret), store_(tcp_, {}) {
    const std::string taken = take_place(description);
    if (!taken.empty() && lobby_.has(key("met")))
      throw Error(taken);  // the run under way is another, or all of it is there
    try {
      if (!taken.empty()) throw Error(taken);
      meet();
    } catch (const Error& error) {
      fail_with(error.what());
      linger();
      throw Error(failure());
    }
    watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    watcher_.request_stop();
    if (watcher_.joinable()) watcher_.join();
    if (failed_) linger();
  }

  int rank() const { return launch_.rank; }
  int size() const { return launch_.size; }
  int local_rank() const { return launch_.local_rank; }
  bool is_root() const { return rank() == 0; }

  /// What ended the run; empty while nothing has.
  std::string failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  /// Throws Error once any rank has failed.
  void check() const {
    if (failed_) throw Error(failure());
  }

  /// Ends the run on all ranks with this message, unless another came first.
  void fail_with(const std::string& message) noexcept {
    try {
      note_failure(lobby_.set_first(key("failure"), message));
    } catch (const std::exception&) {
      note_failure(message);  // the place where all meet is gone: each for itself
    }
  }

  /// What `give_up` does, once a rank has failed; for those who wait where check() is not asked. One at a time.
  void on_failure(std::function<void()> give_up) {
    const std::lock_guard lock(mutex_);
    give_up_ = std::move(give_up);
    if (failed_ && give_up_) give_up_();
  }

  /// Every rank's text, in rank order. All ranks call these in the same order. Throws Error when a rank fails
  /// meanwhile.
  std::vector<std::string> all(const std::string& own) {
    const std::string name = key("all/" + std::to_string(round_++));
    spoken([&] { store_.set(name + "/" + std::to_string(rank()), own); });
    std::vector<std::string> out;
    for (int r = 0; r < size(); ++r) out.push_back(wait_for(name + "/" + std::to_string(r)));
    if (round_ > 1)  // all have come to this round, so none reads the last one's any more
      store_.remove(key("all/" + std::to_string(round_ - 2)) + "/" + std::to_string(rank()));
    return out;
  }
  /// Rank 0's text on every rank.
  std::string from_root(const std::string& own) { return all(is_root() ? own : std::string()).front(); }

  /// Throws Error, naming field and rank, unless every rank's description is rank 0's.
  void agree(const nlohmann::json& description) {
    std::vector<nlohmann::json> each;
    for (const std::string& one : all(description.dump()))
      each.push_back(parse_json(one, "what a rank says of its run"));
    require_equal(each);
  }

  /// Ends well: returns when every rank has come here.
  void leave() {
    all("done");
    left_ = true;
    store_.set(key("left/" + std::to_string(rank())), "1");
    for (int r = 1; r < size() && launch_.hosts_store; ++r) wait_for(key("left/" + std::to_string(r)));
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::string key(const std::string& name) const { return "fpf/" + launch_.run + "/" + name; }
  std::string joined(int rank) const { return key("joined/" + std::to_string(rank)); }
  std::string place() const { return fmt::format("{}:{}", launch_.address, launch_.port); }
  std::chrono::milliseconds period() const {
    return std::chrono::milliseconds(static_cast<int>(1000 * std::clamp(limit_.count() / 10, 0.05, 1.0)));
  }

  SignedStore::Store connect() {
    ::setenv("TORCH_CPP_LOG_LEVEL", "ERROR", 0);  // libtorch tells every attempt to connect
    if (!launch_.hosts_store) return client();
    const Endpoint endpoint = endpoints_of(launch_.address, launch_.port).front();
    if (const auto listening = listen_at(endpoint)) {
      try {
        return open({.listening = *listening});
      } catch (const std::exception& error) {
        const std::string reason = error.what();
        fail("rank 0 does not reach itself at {}: {}", place(), reason.substr(0, reason.find('\n')));
      }
    }
    // In use: by another rank 0, which all should hear of, or by a program of another kind.
    launch_.hosts_store = false;
    const std::string in_use =
        fmt::format("rank 0: MASTER_PORT {} is in use on this machine: choose another", launch_.port);
    try {
      const auto store = open({});
      const SignedStore lobby(store, launch_.secret);
      for (const auto end = Clock::now() + std::chrono::seconds(1); Clock::now() < end;) {
        if (lobby.has(joined(0))) return store;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    } catch (const std::exception&) {
    }
    fail("{}", in_use);
  }
  SignedStore::Store client() const {
    try {
      return open({});
    } catch (const std::exception&) {
      fail("rank {} does not reach rank 0 at {} within {:g} s", launch_.rank, place(), limit_.count());
    }
  }
  struct Role {
    std::optional<int> listening{};  // a socket, which the store closes, where this process keeps the store
  };
  SignedStore::Store open(const Role& role) const {
    c10d::TCPStoreOptions options;
    options.port = launch_.port;
    options.isServer = role.listening.has_value();
    options.masterListenFd = role.listening;
    options.waitWorkers = false;
    options.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(limit_);
    // On a thread, so that this rank can end where something listens that never answers: libtorch would wait for ever.
    auto made = std::make_shared<std::promise<SignedStore::Store>>();
    auto ready = made->get_future();
    std::thread([made, options, host = launch_.address] {
      try {
        made->set_value(c10::make_intrusive<c10d::TCPStore>(host, options));
      } catch (...) {
        made->set_exception(std::current_exception());
      }
    }).detach();
    if (ready.wait_for(limit_ + Seconds(1)) != std::future_status::ready)
      throw std::runtime_error("it does not answer");
    return ready.get();
  }

  /// Keeps the place where all meet until the others have read what failed.
  void linger() const {
    if (launch_.hosts_store) std::this_thread::sleep_for(3 * period());
  }

  /// Says that this rank is there. Returns what is wrong where another process said so before.
  std::string take_place(const nlohmann::json& description) {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    const std::string process = fmt::format("process {} on {}", ::getpid(), one_line(host.data()));
    const nlohmann::json own = {
        {"description", description}, {"size", size()}, {"process", process}, {"nonce", detail::random_hex()}};
    const std::string first = spoken([&] { return lobby_.set_first(joined(rank()), own.dump()); });
    if (first == own.dump()) return {};
    return fmt::format("rank {} is used twice at {}: by {} and by {}; every process needs a RANK of its own", rank(),
                       place(), parse_json(first, "what another process says").at("process").get<std::string>(),
                       process);
  }

  void meet() {
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit_);
    std::vector<nlohmann::json> all;
    std::string session;
    for (int r = 0; r < size(); ++r) {
      for (; !has(lobby_, joined(r)); std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
        look_for_failure();
        check();
        if (Clock::now() > deadline && !has(lobby_, joined(r))) fail_missing(r);
      }
      const std::string text = *read(lobby_, joined(r));
      const nlohmann::json one = parse_json(text, fmt::format("what rank {} says of its run", r));
      if (one.at("size") != size())
        fail("WORLD_SIZE is {} for rank {} and {} for rank {}: expected the same for all", one.at("size").get<int>(), r,
             size(), rank());
      all.push_back(one.at("description"));
      session += text;
    }
    require_equal(all);
    store_ = SignedStore(tcp_, hmac_sha256(launch_.secret, session));
    if (is_root()) spoken([&] { lobby_.set(key("met"), "1"); });
  }
  [[noreturn]] void fail_missing(int r) {
    const std::string own = endpoints_of(launch_.address, launch_.port).front().text();
    const std::string where = own == launch_.address ? std::string() : fmt::format(" ({} here)", own);
    fail("rank {} of {} has not come to {}{} within {:g} s{}", r, size(), place(), where, limit_.count(),
         lobby_.is_taken(joined(r))
             ? ": what says so there is not signed with this rank's secret (FPF_RENDEZVOUS_SECRET)"
             : "");
  }

  static void require_equal(const std::vector<nlohmann::json>& all) {
    for (std::size_t r = 1; r < all.size(); ++r)
      for (const auto& [name, value] : all[0].items())
        if (const auto other = all[r].value(name, nlohmann::json()); other != value)
          fail("rank {} has another {} than rank 0: {} instead of {}", r, name, other.dump(), value.dump());
  }

  std::string wait_for(const std::string& name) {
    for (;;) {
      if (auto found = read(store_, name)) return *found;
      check();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  // What is asked of the store outside the watcher; its end is rank 0's.
  bool has(const SignedStore& store, const std::string& name) {
    return spoken([&] { return store.has(name); });
  }
  std::optional<std::string> read(const SignedStore& store, const std::string& name) {
    return spoken([&] { return store.get(name); });
  }
  template <class F>
  auto spoken(F f) -> decltype(f()) {
    try {
      return f();
    } catch (const std::exception&) {
      std::this_thread::sleep_for(2 * period());  // the watcher may have read why
      note_failure(gone());
      throw Error(failure());
    }
  }
  std::string gone() const { return fmt::format("rank 0, where all ranks meet ({}), is gone", place()); }

  void look_for_failure() {
    if (const auto found = read(lobby_, key("failure"))) note_failure(*found);
  }

  void note_failure(const std::string& message) noexcept {
    const std::lock_guard lock(mutex_);
    if (failed_) return;
    failure_ = message;
    failed_ = true;
    if (give_up_) give_up_();
  }

  /// The watcher: shows its rank's sign of life, and looks at the others'.
  void watch(const std::stop_token& stop) {
    struct Sign {
      std::string last;
      Clock::time_point seen = Clock::now();
    };
    std::vector<Sign> signs(static_cast<std::size_t>(size()));
    const auto alive = [&](int r) { return key("alive/" + std::to_string(r)); };
    try {
      const auto tcp = client();
      SignedStore lobby = lobby_.over(tcp), store = store_.over(tcp);
      for (int beat = 0; !stop.stop_requested() && !failed_; ++beat) {
        store.set(alive(rank()), std::to_string(beat));
        if (const auto found = lobby.get(key("failure"))) return note_failure(*found);
        for (int r = 0; r < size(); ++r) {
          Sign& sign = signs[static_cast<std::size_t>(r)];
          const bool gone_well = store.has(key("left/" + std::to_string(r)));
          const std::string now = store.get(alive(r)).value_or("");
          if (gone_well || now != sign.last) sign = {now, Clock::now()};
          if (Clock::now() - sign.seen > limit_ * 0.7)
            return note_failure(lobby.set_first(
                key("failure"),
                fmt::format("rank {} of {} shows no sign of life: killed, stopped, or cut off", r, size())));
        }
        for (auto end = Clock::now() + period(); Clock::now() < end && !stop.stop_requested();)
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    } catch (const std::exception&) {
      if (!left_ && !stop.stop_requested()) note_failure(gone());
    }
  }

  Launch launch_;
  Seconds limit_;
  SignedStore::Store tcp_;
  SignedStore lobby_;  // until all have met, and for what ends the run
  SignedStore store_;  // from then on
  mutable std::mutex mutex_;
  std::string failure_;
  std::function<void()> give_up_;
  std::atomic<bool> failed_ = false, left_ = false;
  std::uint64_t round_ = 0;
  std::jthread watcher_;  // last: it ends before what it uses
};

/// Calls f, this rank's work. What it throws ends every rank with its text, and what another rank throws ends this one
/// with that. Without a world it only calls f.
template <class F>
auto as_rank(World* world, F f) {
  if (world == nullptr) return f();
  std::string own;
  try {
    return f();
  } catch (const Interrupted&) {
    world->fail_with(fmt::format("rank {} was interrupted", world->rank()));
    throw;
  } catch (const Aborted&) {
    own = "gave up";
  } catch (const std::exception& error) {
    own = error.what();
  }
  world->fail_with(fmt::format("rank {}: {}", world->rank(), own));
  throw Error(world->failure());
}

}  // namespace fpf::parallel
