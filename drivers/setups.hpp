// Set-ups that are compiled once for all programs. A list FPF_..._SETUPS(extern) declares them, FPF_..._SETUPS() in one file
// compiles them.
#pragma once

#include <fpf/experiment.hpp>

#define FPF_EXPERIMENT(EXTERN, QUANT, ATTENTION, PARALLEL, EXECUTION)                                               \
  EXTERN template class Experiment<quant::QUANT, attention::ATTENTION, parallel::PARALLEL, stream::Exclusive,       \
                                   execution::EXECUTION>;                                                           \
  EXTERN template std::shared_ptr<AnyExperiment> make_setup<                                                        \
      Experiment<quant::QUANT, attention::ATTENTION, parallel::PARALLEL, stream::Exclusive, execution::EXECUTION>>( \
      const model::Checkpoint&, const RunSettings&);

/// The experiments of every format.
#define FPF_EXPERIMENTS(EXTERN, ATTENTION, PARALLEL, EXECUTION) \
  FPF_EXPERIMENT(EXTERN, None, ATTENTION, PARALLEL, EXECUTION)  \
  FPF_EXPERIMENT(EXTERN, Awq, ATTENTION, PARALLEL, EXECUTION)   \
  FPF_EXPERIMENT(EXTERN, Gptq, ATTENTION, PARALLEL, EXECUTION)  \
  FPF_EXPERIMENT(EXTERN, Nf4, ATTENTION, PARALLEL, EXECUTION)

/// The decoders of every format, whose ranks are data.
#define FPF_DECODERS(EXTERN, ATTENTION, EXECUTION)                                                       \
  EXTERN template struct model::DecoderFactory<quant::None, attention::ATTENTION, execution::EXECUTION>; \
  EXTERN template struct model::DecoderFactory<quant::Awq, attention::ATTENTION, execution::EXECUTION>;  \
  EXTERN template struct model::DecoderFactory<quant::Gptq, attention::ATTENTION, execution::EXECUTION>; \
  EXTERN template struct model::DecoderFactory<quant::Nf4, attention::ATTENTION, execution::EXECUTION>;

#define FPF_PORTABLE_DECODERS(EXTERN)                         \
  EXTERN template struct model::PortableFactory<quant::None>; \
  EXTERN template struct model::PortableFactory<quant::Awq>;  \
  EXTERN template struct model::PortableFactory<quant::Gptq>; \
  EXTERN template struct model::PortableFactory<quant::Nf4>;
