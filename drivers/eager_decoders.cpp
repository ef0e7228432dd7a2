#include "eager_decoders.hpp"

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
