// A linear layer of a checkpoint, or a part of one, by name and shape.
#pragma once

#include <cstdint>
#include <fpf/core/range.hpp>
#include <string>
#include <utility>

namespace fpf::quant {

/// A linear layer of a checkpoint, `out_features x in_features`, and the part of it to load.
struct LinearSpec {
  std::string name;  // without the tensor's suffix: "model.layers.0.self_attn.q_proj"
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  Range out{};                         // rows to load: all, or a tensor-parallel rank's columns of the product
  Range in{};                          // columns to load: all, or a rank's share of the reduction
  std::int64_t interleaved_heads = 0;  // rows of each of so many heads are stored as [d/2, 2] (llama GGUF); 0: not
  bool bias = false;                   // it has one [out_features], "<name>.bias", never quantised

  static LinearSpec whole(std::string name, std::int64_t out, std::int64_t in) {
    return {std::move(name), out, in, {0, out}, {0, in}};
  }
  bool is_whole() const { return out == Range{0, out_features} && in == Range{0, in_features}; }
};

}  // namespace fpf::quant
