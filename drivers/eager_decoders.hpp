// The decoders of written-out attention, which experiment 4 and verify run, too: compiled once in
// eager_decoders.cpp (target fpf_eager_attention).
#pragma once

#include <fpf/attention/eager.hpp>

#include "reference_decoders.hpp"

namespace fpf::model {

extern template struct DecoderFactory<quant::None, attention::Eager, execution::Eager>;
extern template struct DecoderFactory<quant::Awq, attention::Eager, execution::Eager>;
extern template struct DecoderFactory<quant::Gptq, attention::Eager, execution::Eager>;
extern template struct DecoderFactory<quant::Nf4, attention::Eager, execution::Eager>;
extern template struct DecoderFactory<quant::None, attention::Eager, execution::Compiled>;
extern template struct DecoderFactory<quant::Awq, attention::Eager, execution::Compiled>;
extern template struct DecoderFactory<quant::Gptq, attention::Eager, execution::Compiled>;
extern template struct DecoderFactory<quant::Nf4, attention::Eager, execution::Compiled>;

}  // namespace fpf::model
