// What every experiment's program includes. The runner, the same for all policies, and the reference configuration's
// decoders, which most experiments run, are compiled once (runner.cpp, reference.cpp).
#pragma once

#include <fpf/experiment/runner_declaration.hpp>
#include <fpf/experiment/variable_options.hpp>

namespace fpf {

template <class Quant, class Execution>
using Reference = Experiment<Quant, attention::Flash, parallel::Single, stream::Exclusive, Execution>;

extern template class BasicRunner<>;

namespace model {

extern template class Decoder<quant::None, attention::Flash, parallel::Single, execution::Eager>;
extern template class Decoder<quant::Awq, attention::Flash, parallel::Single, execution::Eager>;
extern template class Decoder<quant::Gptq, attention::Flash, parallel::Single, execution::Eager>;
extern template class Decoder<quant::Nf4, attention::Flash, parallel::Single, execution::Eager>;
extern template class Decoder<quant::None, attention::Flash, parallel::Single, execution::Compiled>;
extern template class Decoder<quant::Awq, attention::Flash, parallel::Single, execution::Compiled>;
extern template class Decoder<quant::Gptq, attention::Flash, parallel::Single, execution::Compiled>;
extern template class Decoder<quant::Nf4, attention::Flash, parallel::Single, execution::Compiled>;

}  // namespace model
}  // namespace fpf
