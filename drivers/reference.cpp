// The reference configuration's decoders: every format, eager and compiled.
#include "driver.hpp"

namespace fpf::model {

template class Decoder<quant::None, attention::Flash, parallel::Single, execution::Eager>;
template class Decoder<quant::Awq, attention::Flash, parallel::Single, execution::Eager>;
template class Decoder<quant::Gptq, attention::Flash, parallel::Single, execution::Eager>;
template class Decoder<quant::Nf4, attention::Flash, parallel::Single, execution::Eager>;
template class Decoder<quant::None, attention::Flash, parallel::Single, execution::Compiled>;
template class Decoder<quant::Awq, attention::Flash, parallel::Single, execution::Compiled>;
template class Decoder<quant::Gptq, attention::Flash, parallel::Single, execution::Compiled>;
template class Decoder<quant::Nf4, attention::Flash, parallel::Single, execution::Compiled>;

}  // namespace fpf::model
