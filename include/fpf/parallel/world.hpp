// The processes of one run, one rank each: they meet, agree on what they run, watch over one another, and leave together.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fpf/core/json.hpp>
#include <fpf/parallel/communicator.hpp>
#include <fpf/parallel/launcher.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

namespace fpf::parallel {

/// Joined by every process that a launcher started. Whatever goes wrong in one ends all of them within the time limit,
/// with one message that names the rank: the first is kept where all meet (libtorch's TCPStore), and a thread of every
/// process looks for it and for ranks that show no sign of life.
class World {
 public:
  using Seconds = std::chrono::duration<double>;

  /// Meets the other ranks. `description` is what all must agree in, field by field. Throws Error when they do not, or
  /// when a rank has not come within `limit`.
  World(Launch launch, Seconds limit, const nlohmann::json& description)
      : launch_(std::move(launch)), limit_(limit), store_(connect(launch_.hosts_store)) {
    try {
      meet(description);
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
      note_failure(text(store_->compareSet(key("failure"), {}, bytes(message))));
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

  /// Every rank's text, in rank order. All ranks call these in the same order. Throws Error when a rank fails meanwhile.
  std::vector<std::string> all(const std::string& own) {
    const std::string name = key("all/" + std::to_string(round_++));
    spoken([&] { store_->set(name + "/" + std::to_string(rank()), bytes(own)); });
    std::vector<std::string> out;
    for (int r = 0; r < size(); ++r) out.push_back(wait_for(name + "/" + std::to_string(r)));
    if (round_ > 1)  // all have come to this round, so none reads the last one's any more
      store_->deleteKey(key("all/" + std::to_string(round_ - 2)) + "/" + std::to_string(rank()));
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
    store_->set(key("left/" + std::to_string(rank())), bytes("1"));
    for (int r = 1; r < size() && launch_.hosts_store; ++r) wait_for(key("left/" + std::to_string(r)));
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Store = c10::intrusive_ptr<c10d::TCPStore>;

  static std::vector<std::uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }
  static std::string text(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
  std::string key(const std::string& name) const { return "fpf/" + launch_.run + "/" + name; }
  std::string place() const { return fmt::format("{}:{}", launch_.address, launch_.port); }
  std::chrono::milliseconds period() const {
    return std::chrono::milliseconds(static_cast<int>(1000 * std::clamp(limit_.count() / 10, 0.05, 1.0)));
  }

  Store connect(bool as_server) const {
    ::setenv("TORCH_CPP_LOG_LEVEL", "ERROR", 0);  // libtorch tells every attempt to connect
    c10d::TCPStoreOptions options;
    options.port = launch_.port;
    options.isServer = as_server;
    options.waitWorkers = false;
    options.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(limit_);
    try {
      return c10::make_intrusive<c10d::TCPStore>(launch_.address, options);
    } catch (const std::exception& error) {
      const std::string reason = error.what();
      if (as_server && reason.find("EADDRINUSE") != std::string::npos)
        fail("rank 0: MASTER_PORT {} is in use on this machine: choose another", launch_.port);
      if (as_server) fail("rank 0 cannot listen at {}: {}", place(), reason.substr(0, reason.find('\n')));
      fail("rank {} does not reach rank 0 at {} within {:g} s", launch_.rank, place(), limit_.count());
    }
  }

  /// Keeps the place where all meet until the others have read what failed.
  void linger() const {
    if (launch_.hosts_store) std::this_thread::sleep_for(3 * period());
  }

  void meet(const nlohmann::json& description) {
    const auto joined = [&](int r) { return key("joined/" + std::to_string(r)); };
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit_);
    store_->set(joined(rank()), bytes(description.dump()));
    std::vector<nlohmann::json> all(static_cast<std::size_t>(size()));
    for (int r = 0; r < size(); ++r) {
      while (!has(joined(r))) {
        look_for_failure();
        check();
        if (Clock::now() > deadline)
          fail("rank {} of {} has not come to {} within {:g} s", r, size(), place(), limit_.count());
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      all[static_cast<std::size_t>(r)] = parse_json(read(joined(r)), fmt::format("what rank {} says of its run", r));
    }
    require_equal(all);
  }

  static void require_equal(const std::vector<nlohmann::json>& all) {
    for (std::size_t r = 1; r < all.size(); ++r)
      for (const auto& [name, value] : all[0].items())
        if (const auto other = all[r].value(name, nlohmann::json()); other != value)
          fail("rank {} has another {} than rank 0: {} instead of {}", r, name, other.dump(), value.dump());
  }

  std::string wait_for(const std::string& name) {
    while (!has(name)) {
      check();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return read(name);
  }

  // What is asked of the store outside the watcher; its end is rank 0's.
  bool has(const std::string& name) {
    return spoken([&] { return store_->check({name}); });
  }
  std::string read(const std::string& name) {
    return text(spoken([&] { return store_->get(name); }));
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
    if (has(key("failure"))) note_failure(read(key("failure")));
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
      const Store store = connect(false);
      for (int beat = 0; !stop.stop_requested() && !failed_; ++beat) {
        store->set(alive(rank()), bytes(std::to_string(beat)));
        if (store->check({key("failure")})) return note_failure(text(store->get(key("failure"))));
        for (int r = 0; r < size(); ++r) {
          Sign& sign = signs[static_cast<std::size_t>(r)];
          const bool gone_well = store->check({key("left/" + std::to_string(r))});
          const std::string now = store->check({alive(r)}) ? text(store->get(alive(r))) : std::string();
          if (gone_well || now != sign.last) sign = {now, Clock::now()};
          if (Clock::now() - sign.seen > limit_ * 0.7)
            return note_failure(text(store->compareSet(
                key("failure"), {},
                bytes(fmt::format("rank {} of {} shows no sign of life: killed, stopped, or cut off", r, size())))));
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
  Store store_;
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
