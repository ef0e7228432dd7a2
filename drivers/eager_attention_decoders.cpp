#include "variant_decoders.hpp"

namespace fpf::model {

template struct DecoderFactory<quant::None, attention::Eager, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::Awq, attention::Eager, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::Gptq, attention::Eager, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::Nf4, attention::Eager, parallel::Single, execution::Eager>;
template struct DecoderFactory<quant::None, attention::Eager, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::Awq, attention::Eager, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::Gptq, attention::Eager, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::Nf4, attention::Eager, parallel::Single, execution::Compiled>;
template struct DecoderFactory<quant::None, attention::Eager, parallel::Single, execution::Portable>;
template struct DecoderFactory<quant::Awq, attention::Eager, parallel::Single, execution::Portable>;
template struct DecoderFactory<quant::Gptq, attention::Eager, parallel::Single, execution::Portable>;
template struct DecoderFactory<quant::Nf4, attention::Eager, parallel::Single, execution::Portable>;

}  // namespace fpf::model
