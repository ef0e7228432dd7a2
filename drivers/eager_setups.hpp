// The decoders and experiments of written-out attention, which experiment 4 and verify run: compiled once in
// eager_setups.cpp (target fpf_eager_attention).
#pragma once

#include <fpf/attention/eager.hpp>
#include <fpf/experiment/experiment.hpp>

#include "reference_setups.hpp"

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

namespace fpf {

extern template class Experiment<quant::None, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Awq, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Gptq, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Nf4, attention::Eager, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::None, attention::Eager, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Awq, attention::Eager, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Gptq, attention::Eager, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Nf4, attention::Eager, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;

}  // namespace fpf
