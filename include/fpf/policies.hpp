// The names of fpf's policies and of the set-ups composed of them, without what they do: enough to choose among them.
#pragma once

namespace fpf {

namespace quant {
struct None;
struct Awq;
struct Gptq;
struct Nf4;
}  // namespace quant
namespace attention {
struct Flash;
struct Eager;
}  // namespace attention
namespace parallel {
struct Single;
class Tensor;
class Expert;
}  // namespace parallel
namespace stream {
struct Exclusive;
class Contended;
}  // namespace stream
namespace execution {
struct Eager;
struct Compiled;
struct Portable;
}  // namespace execution

/// An inference set-up: five choices of numerics, each a policy. Without arguments it is the reference
/// configuration. Defined in experiment/experiment.hpp.
template <class Quant = quant::None, class Attention = attention::Flash, class Parallel = parallel::Single,
          class Stream = stream::Exclusive, class Execution = execution::Eager>
class Experiment;

}  // namespace fpf
