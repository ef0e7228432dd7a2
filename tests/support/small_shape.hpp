// A model's dimensions that divide over 2 and 4 ranks and into groups of 128, small enough for milliseconds.
#pragma once

#include <nlohmann/json.hpp>

/// As config.json says them; architecture and positions are the caller's.
inline nlohmann::json small_shape() {
  return {{"vocab_size", 512},        {"hidden_size", 128},       {"intermediate_size", 256}, {"num_hidden_layers", 3},
          {"num_attention_heads", 8}, {"num_key_value_heads", 4}, {"head_dim", 32},           {"rms_norm_eps", 1e-6}};
}
