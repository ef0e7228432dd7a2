// The contract of contention policies: what else the device does while the measured run goes on.
#pragma once

#include <chrono>
#include <concepts>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::stream {

/// From the start of a piece of work to its end.
struct Span {
  std::chrono::steady_clock::time_point begin, end;
};

template <class S>
concept HasName = requires {
  { S::name } -> std::convertible_to<std::string_view>;
};
template <class S>
concept HasLoad = requires(S& s, const std::vector<Span>& work) {
  { s.start() } -> std::same_as<void>;
  { s.stop(work) } -> std::same_as<nlohmann::ordered_json>;
};

/// A contention policy; one object a configuration.
///   name        "exclusive", "contended"
///   start()     called before a repetition begins
///   stop(work)  called after it ended, with when each of its passes began and ended; what happened beside it, for the
///               run's record (null: nothing to say). Its `accompanied` is false where that was less than the
///               experiment rests on, `overlap_fraction` how much it was: then the repetition is made again, a few
///               times.
///   contends    optional: true where something runs beside the measured work
template <class S>
concept StreamContention = HasName<S> && HasLoad<S>;

/// Fails to compile with a sentence for every part that a policy lacks.
template <class S>
struct Require {
  static_assert(HasName<S>, "fpf: a contention policy needs `static constexpr std::string_view name`");
  static_assert(HasLoad<S>,
                "fpf: a contention policy needs `void start()` and `nlohmann::ordered_json stop(const "
                "std::vector<Span>& work)`");
};

/// A policy's object as a value.
class Contention {
 public:
  virtual ~Contention() = default;
  virtual std::string_view name() const = 0;
  virtual bool contends() const = 0;
  virtual void start() = 0;
  virtual nlohmann::ordered_json stop(const std::vector<Span>& work) = 0;
};

template <class S>
std::shared_ptr<Contention> contention(S stream = {}) {
  static_assert(sizeof(Require<S>));
  struct Own final : Contention {
    explicit Own(S made) : policy(std::move(made)) {}
    std::string_view name() const override { return S::name; }
    bool contends() const override {
      if constexpr (requires { S::contends; }) return S::contends;
      return false;
    }
    void start() override { policy.start(); }
    nlohmann::ordered_json stop(const std::vector<Span>& work) override { return policy.stop(work); }
    S policy;
  };
  return std::make_shared<Own>(std::move(stream));
}

}  // namespace fpf::stream
