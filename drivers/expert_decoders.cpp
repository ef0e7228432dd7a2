#include "variant_decoders.hpp"

namespace fpf::model {

template struct DecoderFactory<quant::None, attention::Flash, parallel::Expert, execution::Eager>;
template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Expert, execution::Eager>;
template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Expert, execution::Eager>;
template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Expert, execution::Eager>;
template struct DecoderFactory<quant::None, attention::Flash, parallel::Expert, execution::Compiled>;
template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Expert, execution::Compiled>;
template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Expert, execution::Compiled>;
template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Expert, execution::Compiled>;
template struct DecoderFactory<quant::None, attention::Flash, parallel::Expert, execution::Portable>;
template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Expert, execution::Portable>;
template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Expert, execution::Portable>;
template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Expert, execution::Portable>;

}  // namespace fpf::model
