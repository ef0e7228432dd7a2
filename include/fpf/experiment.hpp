// The umbrella: an inference set-up as a type, and every policy that fpf brings.
//
//   using Reference = fpf::Experiment<>;                                        // experiment 0
//   using Ablation  = fpf::Experiment<fpf::quant::Awq, fpf::attention::Eager>;  // experiment 4
#pragma once

#include <fpf/attention/eager.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/execution/compiled.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/parallel/expert.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/parallel/tensor.hpp>
#include <fpf/quant/awq.hpp>
#include <fpf/quant/gptq.hpp>
#include <fpf/quant/nf4.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/stream/contended.hpp>
#include <fpf/stream/exclusive.hpp>
