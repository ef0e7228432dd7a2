#include "eager_setups.hpp"

namespace fpf::model {

template struct DecoderFactory<quant::None, attention::Eager, execution::Eager>;
template struct DecoderFactory<quant::Awq, attention::Eager, execution::Eager>;
template struct DecoderFactory<quant::Gptq, attention::Eager, execution::Eager>;
template struct DecoderFactory<quant::Nf4, attention::Eager, execution::Eager>;
template struct DecoderFactory<quant::None, attention::Eager, execution::Compiled>;
template struct DecoderFactory<quant::Awq, attention::Eager, execution::Compiled>;
template struct DecoderFactory<quant::Gptq, attention::Eager, execution::Compiled>;
template struct DecoderFactory<quant::Nf4, attention::Eager, execution::Compiled>;

}  // namespace fpf::model

namespace fpf {

template class Experiment<quant::None, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Awq, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Gptq, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Nf4, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::None, attention::Eager, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Awq, attention::Eager, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Gptq, attention::Eager, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Nf4, attention::Eager, parallel::Single, stream::Exclusive, execution::Compiled>;

}  // namespace fpf
