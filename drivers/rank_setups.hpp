// The experiments of several ranks, 7 and 8, which verify runs, too: compiled once in rank_setups.cpp (target
// fpf_ranks).
#pragma once

#include <fpf/experiment/experiment.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/tensor.hpp>

#include "reference_setups.hpp"

namespace fpf {

extern template class Experiment<quant::None, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::None, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::None, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Tensor, stream::Exclusive,
                                 execution::Portable>;

extern template class Experiment<quant::None, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
extern template class Experiment<quant::None, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Compiled>;
extern template class Experiment<quant::None, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Awq, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Gptq, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Portable>;
extern template class Experiment<quant::Nf4, attention::Flash, parallel::Expert, stream::Exclusive,
                                 execution::Portable>;

}  // namespace fpf
