// The reference configuration of every format, eager and compiled.
#include "driver.hpp"

namespace fpf {

template void Runner::run<Reference<quant::None, execution::Eager>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::Awq, execution::Eager>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::Gptq, execution::Eager>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::Nf4, execution::Eager>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::None, execution::Compiled>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::Awq, execution::Compiled>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::Gptq, execution::Compiled>>(const Variant&, stream::Exclusive);
template void Runner::run<Reference<quant::Nf4, execution::Compiled>>(const Variant&, stream::Exclusive);

}  // namespace fpf
