// An inference set-up as a value: five choices of numerics, and who runs them. Names alone: what a choice does is its
// own header's.
#pragma once

#include <memory>

namespace fpf {

namespace quant {
struct Scheme;
}
namespace attention {
struct Kernel;
}
namespace parallel {
struct Scheme;
}
namespace stream {
class Contention;
}
namespace execution {
struct Policy;
}

/// Values of policies: quant::scheme<Awq>(), attention::kernel<Eager>(), parallel::scheme<Tensor>(),
/// stream::contention<Contended>(...), execution::policy<Compiled>().
struct Setup {
  const quant::Scheme* quantisation = nullptr;  // nullptr: the checkpoint's own
  const attention::Kernel* attention = nullptr;
  const parallel::Scheme* parallelism = nullptr;
  std::shared_ptr<stream::Contention> stream;
  const execution::Policy* execution = nullptr;

  /// The same with another choice.
  Setup with(const quant::Scheme& other) const { return changed(&Setup::quantisation, &other); }
  Setup with(const attention::Kernel& other) const { return changed(&Setup::attention, &other); }
  Setup with(const parallel::Scheme& other) const { return changed(&Setup::parallelism, &other); }
  Setup with(std::shared_ptr<stream::Contention> other) const { return changed(&Setup::stream, std::move(other)); }
  Setup with(const execution::Policy& other) const { return changed(&Setup::execution, &other); }

 private:
  template <class T, class U>
  Setup changed(T Setup::*member, U value) const {
    Setup out = *this;
    out.*member = std::move(value);
    return out;
  }
};

/// A loaded set-up. Defined in session.hpp; a template without parameters of its own, so that a project of many
/// programs can compile it once (`extern template`, as drivers/compiled.hpp does).
template <class = void>
class BasicSession;
using Session = BasicSession<>;

}  // namespace fpf
