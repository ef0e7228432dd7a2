// Repetitions one after another; those that a load was to go with are made again where it did not.
#pragma once

#include <fpf/core/interrupt.hpp>
#include <fpf/experiment/run_progress.hpp>
#include <fpf/experiment/session.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fpf {

/// How often a repetition is made at most for a load to go with it: on a machine that is busy otherwise it may come
/// late.
inline constexpr int most_attempts = 5;

/// Appends a repetition: the first that its load went with, of at most `most_attempts`, or, where there was none, the
/// one that it went with for longest, which is not accompanied() then. Its `contention` says how many were made. One
/// with other bits than that is not dropped: it is a repetition, too. `forced`: as Session::run takes it. `say` is told
/// of each that is made again. Throws Interrupted.
inline void append_repetition(std::vector<Repetition>& to, Session& setup,
                              const std::vector<std::vector<std::int32_t>>& prompts,
                              const std::vector<std::int32_t>& forced, RunProgress& progress,
                              const std::function<void(const std::string&)>& say) {
  const auto share = [](const Repetition& one) { return one.contention.value("overlap_fraction", 1.0); };
  check_interrupt();
  Repetition best = setup.run(prompts, forced, progress.run());
  int attempts = 1;
  for (; !best.accompanied() && attempts < most_attempts; ++attempts) {
    check_interrupt();
    say(fmt::format("the load went with {:.0f} % of a repetition: once more", 100 * share(best)));
    progress.extend();
    Repetition next = setup.run(prompts, forced, progress.run());
    if (next.accompanied() || share(next) > share(best)) std::swap(best, next);
    if (evidence::first_difference(best.signals, next.signals)) to.push_back(std::move(next));
  }
  if (best.contention.is_object()) best.contention["attempts"] = attempts;
  to.push_back(std::move(best));
}

}  // namespace fpf
