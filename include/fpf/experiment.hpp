// The umbrella: an inference set-up as a type, and every policy that fpf brings.
//
//   using Reference = fpf::Experiment<>;                                        // experiment 0
//   using Ablation  = fpf::Experiment<fpf::quant::Awq, fpf::attention::Eager>;  // experiment 4
#pragma once

#include <fpf/experiment/experiment.hpp>
#include <fpf/experiment/registry.hpp>
#include <fpf/stream/contended.hpp>
