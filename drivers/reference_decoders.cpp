#include "reference_decoders.hpp"

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
