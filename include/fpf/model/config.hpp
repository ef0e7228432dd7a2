// What a checkpoint says of its model: dimensions and constants. config_json.hpp and config_gguf.hpp read them.
#pragma once

#include <array>
#include <cstdint>
#include <fpf/core/dtype.hpp>
#include <fpf/core/error.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::model {

/// What the layers of a family have beside RMSNorm before attention and MLP, RoPE by halves, grouped queries and a
/// gated SiLU MLP. An engine states the flags that it carries out, and is refused for others.
struct Block {
  bool qk_norm = false;   // RMSNorm per head on q and k, before RoPE
  bool experts = false;   // a router and experts in every layer instead of one MLP
  bool qkv_bias = false;  // q, k and v are products plus a bias
};
inline constexpr std::array<std::pair<std::string_view, bool Block::*>, 3> block_flags{
    {{"norms of q and k per head", &Block::qk_norm},
     {"experts", &Block::experts},
     {"biases of q, k and v", &Block::qkv_bias}}};

/// Dimensions of a decoder-only transformer. Every size that fpf uses comes from here.
struct ModelConfig {
  std::string architecture;  // one of architectures' names (architectures.hpp)
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;  // of the dense MLP; unused in MoE layers
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_positions = 0;
  double rms_norm_eps = 0;
  double rope_theta = 0;
  bool tied_head = false;
  Block block{};
  std::int64_t num_experts = 0;  // 0: dense
  std::int64_t experts_per_token = 0;
  std::int64_t moe_intermediate_size = 0;
  bool norm_topk_prob = false;   // the chosen experts' weights are divided by their sum
  DType dtype = DType::float32;  // of activations, unless the user asks for another
  nlohmann::json quantization;   // config.json's quantization_config, or null
  /// The layers of which these are the first, where a trial runs no more than them; else num_layers.
  std::int64_t of_layers = 0;
  std::vector<std::string> unread_keys;  // of the file that says this: what fpf has no use for and does not know

  bool is_moe() const { return num_experts > 0; }
  std::int64_t q_size() const { return num_heads * head_dim; }
  std::int64_t kv_size() const { return num_kv_heads * head_dim; }
};

/// Throws Error, naming `file` and the key, when a dimension is missing, impossible, or two of them disagree.
inline void validate(const ModelConfig& config, const std::string& file) {
  if (config.num_heads % config.num_kv_heads != 0)
    fail("{}: {} attention heads do not divide into {} key-value heads", file, config.num_heads, config.num_kv_heads);
  if (config.head_dim % 2 != 0) fail("{}: head_dim {} is odd, RoPE needs pairs", file, config.head_dim);
  if (config.is_moe() && config.experts_per_token > config.num_experts)
    fail("{}: {} experts per token of {}", file, config.experts_per_token, config.num_experts);
}

}  // namespace fpf::model
