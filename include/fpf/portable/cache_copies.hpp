// Keys and values once more, as attention's loops read them: made as positions come, kept beside the cache.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <fpf/portable/panels.hpp>
#include <vector>

namespace fpf::portable {

/// Of every layer, sequence and key-value head a Head(positions, d): put(p, key, value) takes a position's [d] float32,
/// each block of 128 in ascending order and in one thread; end(p) says that position p and those behind it are none.
template <class Head>
class CacheCopies {
 public:
  /// `pairs`: sequences times key-value heads.
  CacheCopies(std::int64_t layers, std::int64_t pairs, std::int64_t positions, std::int64_t d)
      : layers_(static_cast<std::size_t>(layers), std::vector(static_cast<std::size_t>(pairs), Head(positions, d))) {}

  /// k and v [batch, kv_heads, tokens, d] of a layer, at the positions from `begin` on.
  void put(std::int64_t layer, std::int64_t begin, const at::Tensor& k, const at::Tensor& v) {
    std::vector<Head>& heads = layers_[static_cast<std::size_t>(layer)];
    const std::int64_t tokens = k.size(2), d = k.size(3), kv_heads = k.size(1), first_block = begin / span;
    const std::int64_t blocks = (begin + tokens - 1) / span + 1 - first_block;
    const auto row = [&](const at::Tensor& all, std::int64_t pair, std::int64_t t) {
      return static_cast<const std::byte*>(all.const_data_ptr()) +
             (pair / kv_heads * all.stride(0) + pair % kv_heads * all.stride(1) + t * all.stride(2)) *
                 static_cast<std::int64_t>(all.element_size());
    };
    at::parallel_for(0, std::ssize(heads) * blocks, std::max<std::int64_t>(1, 64 / tokens), [&](auto first, auto end) {
      std::vector<float> key(static_cast<std::size_t>(d)), value(key);
      for (auto task = first; task < end; ++task) {
        Head& head = heads[static_cast<std::size_t>(task / blocks)];
        const std::int64_t block_begin = (first_block + task % blocks) * span;
        const std::int64_t to = std::min(block_begin + span, begin + tokens);
        for (std::int64_t p = std::max(block_begin, begin); p < to; ++p) {
          widen(row(k, task / blocks, p - begin), k.scalar_type(), d, key.data());
          widen(row(v, task / blocks, p - begin), v.scalar_type(), d, value.data());
          head.put(p, key.data(), value.data());
        }
        head.end(to);
      }
    });
  }

  std::int64_t pairs(std::int64_t layer) const { return std::ssize(layers_[static_cast<std::size_t>(layer)]); }
  const Head& head(std::int64_t layer, std::int64_t pair) const {
    return layers_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(pair)];
  }

 private:
  static constexpr std::int64_t span = integer_position_block;  // a multiple of any block of attention's

  std::vector<std::vector<Head>> layers_;
};

}  // namespace fpf::portable
