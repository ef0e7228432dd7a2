#include "reference_decoders.hpp"

namespace fpf::model {

template struct DecoderFactory<quant::None, attention::Flash, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::None, attention::Flash, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::None, attention::Flash, parallel::Single, execution::Portable>;
template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Single, execution::Portable>;
template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Single, execution::Portable>;
template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Single, execution::Portable>;

}  // namespace fpf::model
