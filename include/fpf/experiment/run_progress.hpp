// Progress of repetitions: a prefill each, then decode steps.
#pragma once

#include <cstdint>
#include <fpf/core/progress.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fpf {

/// Shows repetitions of one configuration. A prefill may take as long as a hundred steps, so that the two are counted
/// apart.
class RunProgress {
 public:
  /// `prefills_alone`: those that no decode steps follow.
  RunProgress(std::string title, std::int64_t runs, std::int64_t steps, std::int64_t prefills_alone,
              Verbosity verbosity)
      : steps_(steps), progress_(std::move(title), std::vector{runs + prefills_alone, runs * steps}, verbosity) {}

  /// What a run is to call after its prefill and after every step.
  std::function<void()> run() {
    return [this, first = true]() mutable { progress_.advance(1, std::exchange(first, false) ? prefills : decodes); };
  }

  /// A run more than was counted with.
  void extend() {
    progress_.extend(prefills, 1);
    progress_.extend(decodes, steps_);
  }

  /// After a prefill alone.
  void prefill() { progress_.advance(1, prefills); }

 private:
  static constexpr std::size_t prefills = 0, decodes = 1;

  std::int64_t steps_;
  Progress progress_;
};

}  // namespace fpf
