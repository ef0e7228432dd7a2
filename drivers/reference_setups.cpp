#include "reference_setups.hpp"

namespace fpf::model {

template struct DecoderFactory<quant::None, attention::Flash, execution::Eager>;
template struct DecoderFactory<quant::Awq, attention::Flash, execution::Eager>;
template struct DecoderFactory<quant::Gptq, attention::Flash, execution::Eager>;
template struct DecoderFactory<quant::Nf4, attention::Flash, execution::Eager>;
template struct DecoderFactory<quant::None, attention::Flash, execution::Compiled>;
template struct DecoderFactory<quant::Awq, attention::Flash, execution::Compiled>;
template struct DecoderFactory<quant::Gptq, attention::Flash, execution::Compiled>;
template struct DecoderFactory<quant::Nf4, attention::Flash, execution::Compiled>;

template struct PortableFactory<quant::None>;
template struct PortableFactory<quant::Awq>;
template struct PortableFactory<quant::Gptq>;
template struct PortableFactory<quant::Nf4>;

}  // namespace fpf::model

namespace fpf {

template class Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
template class Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Single, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Single, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Single, stream::Exclusive, execution::Portable>;

}  // namespace fpf
