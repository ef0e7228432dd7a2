// What a run is told: sizes and places, not choices of numerics.
#pragma once

#include <cstdint>
#include <fpf/core/dtype.hpp>
#include <fpf/parallel/parallelism.hpp>
#include <string>
#include <vector>

namespace fpf {

struct RunSettings {
  std::vector<std::int64_t> layers;  // zero-based, ascending
  std::int64_t top_k = 10;           // log-probabilities a position
  std::int64_t decode_steps = 30;
  DType dtype = DType::float32;  // of activations
  std::string device = "cpu";    // "cpu", "cuda", "cuda:1"
  parallel::RankOptions ranks;
};

}  // namespace fpf
