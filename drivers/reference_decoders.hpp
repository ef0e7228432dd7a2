// The reference configuration's decoders, every format and execution: most experiments and many tests run no
// others, so they are compiled once, in reference_decoders.cpp (target fpf_reference).
#pragma once

#include <fpf/attention/flash.hpp>
#include <fpf/execution/select.hpp>
#include <fpf/model/decoder.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/select.hpp>

namespace fpf::model {

extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Single, execution::Portable>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Single, execution::Portable>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Single, execution::Portable>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Single, execution::Portable>;

}  // namespace fpf::model
