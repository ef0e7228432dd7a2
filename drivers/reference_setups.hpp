// The reference configuration's decoders and experiments, every format and execution: most experiments and many tests run
// no others, so they are compiled once, in reference_setups.cpp (target fpf_reference).
#pragma once

#include <fpf/attention/flash.hpp>
#include <fpf/execution/select.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/quant/select.hpp>

namespace fpf::model {

extern template struct DecoderFactory<quant::None, attention::Flash, execution::Eager>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, execution::Eager>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, execution::Eager>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, execution::Eager>;
extern template struct DecoderFactory<quant::None, attention::Flash, execution::Compiled>;
extern template struct DecoderFactory<quant::Awq, attention::Flash, execution::Compiled>;
extern template struct DecoderFactory<quant::Gptq, attention::Flash, execution::Compiled>;
extern template struct DecoderFactory<quant::Nf4, attention::Flash, execution::Compiled>;

extern template struct PortableFactory<quant::None>;
extern template struct PortableFactory<quant::Awq>;
extern template struct PortableFactory<quant::Gptq>;
extern template struct PortableFactory<quant::Nf4>;

}  // namespace fpf::model

namespace fpf {

extern template class Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Single, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Single, stream::Exclusive,
                                 execution::Portable>;

}  // namespace fpf
