#include "rank_setups.hpp"

namespace fpf {

template class Experiment<quant::None, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Awq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Eager>;
template class Experiment<quant::None, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Awq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::None, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Awq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Tensor, stream::Exclusive, execution::Portable>;

template class Experiment<quant::None, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Awq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Expert, stream::Exclusive, execution::Eager>;
template class Experiment<quant::None, attention::Flash, parallel::Expert, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Awq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Expert, stream::Exclusive, execution::Compiled>;
template class Experiment<quant::None, attention::Flash, parallel::Expert, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Awq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Gptq, attention::Flash, parallel::Expert, stream::Exclusive, execution::Portable>;
template class Experiment<quant::Nf4, attention::Flash, parallel::Expert, stream::Exclusive, execution::Portable>;

}  // namespace fpf
