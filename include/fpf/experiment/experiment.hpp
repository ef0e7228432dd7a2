// An inference set-up as a type.
#pragma once

#include <fpf/attention/flash.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/experiment/session.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/stream/exclusive.hpp>
#include <utility>

namespace fpf {

/// An inference set-up: five choices of numerics, each a policy. Without arguments it is the reference configuration.
/// Types at the door, values behind it.
template <class Quant = quant::None, class Attention = attention::Flash, class Parallel = parallel::Single,
          class Stream = stream::Exclusive, class Execution = execution::Eager>
class Experiment final : public Session {
 public:
  /// The choices as a value. Here types are asked for what they lack.
  static Setup setup(Stream stream = {}) {
    return {&quant::scheme<Quant>(), &attention::kernel<Attention>(), &parallel::scheme<Parallel>(),
            stream::contention(std::move(stream)), &execution::policy<Execution>()};
  }

  /// Loads the model. `checkpoint` must outlive the experiment. Throws Error when it does not fit the policies, and for
  /// tensors that would have to be read (model/account.hpp).
  Experiment(const model::Checkpoint& checkpoint, const RunSettings& settings, Stream stream = {})
      : Session(checkpoint, settings, setup(std::move(stream))) {}
};

}  // namespace fpf
