// The decoders of experiments 4, 7 and 8, which verify runs, too: compiled once (target fpf_variants).
#pragma once

#include <fpf/attention/eager.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/tensor.hpp>

#include "reference_decoders.hpp"

namespace fpf::model {

extern template struct DecoderFactory<quant::None, attention::Eager, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::Awq, attention::Eager, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::Gptq, attention::Eager, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::Nf4, attention::Eager, parallel::Single, execution::Eager>;
extern template struct DecoderFactory<quant::None, attention::Eager, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::Awq, attention::Eager, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::Gptq, attention::Eager, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::Nf4, attention::Eager, parallel::Single, execution::Compiled>;
extern template struct DecoderFactory<quant::None, attention::Eager, parallel::Single, execution::Portable>;
extern template struct DecoderFactory<quant::Awq, attention::Eager, parallel::Single, execution::Portable>;
extern template struct DecoderFactory<quant::Gptq, attention::Eager, parallel::Single, execution::Portable>;
extern template struct DecoderFactory<quant::Nf4, attention::Eager, parallel::Single, execution::Portable>;

extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Tensor, execution::Eager>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Tensor, execution::Eager>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Tensor, execution::Eager>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Tensor, execution::Eager>;
extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Tensor, execution::Compiled>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Tensor, execution::Compiled>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Tensor, execution::Compiled>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Tensor, execution::Compiled>;
extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Tensor, execution::Portable>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Tensor, execution::Portable>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Tensor, execution::Portable>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Tensor, execution::Portable>;

extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Expert, execution::Eager>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Expert, execution::Eager>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Expert, execution::Eager>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Expert, execution::Eager>;
extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Expert, execution::Compiled>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Expert, execution::Compiled>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Expert, execution::Compiled>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Expert, execution::Compiled>;
extern template struct DecoderFactory<quant::None, attention::Flash, parallel::Expert, execution::Portable>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, parallel::Expert, execution::Portable>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, parallel::Expert, execution::Portable>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, parallel::Expert, execution::Portable>;

}  // namespace fpf::model
