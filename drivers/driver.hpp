// What every experiment's program includes. The runner, the same for all policies, and the reference
// configuration, which most experiments begin with, are compiled once (runner.cpp, reference.cpp).
#pragma once

#include <fpf/experiment/runner_declaration.hpp>
#include <fpf/experiment/variable_options.hpp>

namespace fpf {

template <class Quant, class Execution>
using Reference = Experiment<Quant, attention::Flash, parallel::Single, stream::Exclusive, Execution>;

extern template class BasicRunner<>;
extern template void Runner::run<Reference<quant::None, execution::Eager>>(const Variant&, stream::Exclusive);
extern template void Runner::run<Reference<quant::Awq, execution::Eager>>(const Variant&, stream::Exclusive);
extern template void Runner::run<Reference<quant::Gptq, execution::Eager>>(const Variant&, stream::Exclusive);
extern template void Runner::run<Reference<quant::Nf4, execution::Eager>>(const Variant&, stream::Exclusive);
extern template void Runner::run<Reference<quant::None, execution::Compiled>>(const Variant&,
                                                                              stream::Exclusive);
extern template void Runner::run<Reference<quant::Awq, execution::Compiled>>(const Variant&,
                                                                             stream::Exclusive);
extern template void Runner::run<Reference<quant::Gptq, execution::Compiled>>(const Variant&,
                                                                              stream::Exclusive);
extern template void Runner::run<Reference<quant::Nf4, execution::Compiled>>(const Variant&,
                                                                             stream::Exclusive);

}  // namespace fpf
