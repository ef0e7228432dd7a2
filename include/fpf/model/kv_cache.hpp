// Keys and values of the positions computed so far.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdint>
#include <fpf/kernel/shared/params.hpp>
#include <memory>
#include <stdexcept>
#include <typeinfo>
#include <vector>

namespace fpf::model {

/// One buffer a layer for keys and one for values: [batch, kv_heads, capacity, head_dim].
class KvCache {
 public:
  /// Room for at least `positions`.
  KvCache(std::int64_t layers, std::int64_t batch, std::int64_t kv_heads, std::int64_t positions, std::int64_t head_dim,
          const at::TensorOptions& options)
      : capacity_(capacity_for(positions)) {
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      keys_.push_back(at::empty({batch, kv_heads, capacity_, head_dim}, options));
      values_.push_back(at::empty({batch, kv_heads, capacity_, head_dim}, options));
    }
  }

  /// Positions that a cache has room for: the next multiple of 64, so that every head's rows begin at a multiple of 64
  /// bytes whatever its size. BLAS chooses its kernels, and with them the order of additions, by alignment: with rows
  /// that begin wherever the number of steps puts them, bits would depend on how many steps were asked for.
  static constexpr std::int64_t capacity_for(std::int64_t positions) { return (positions + 63) / 64 * 64; }

  /// Layers take turns with one buffer: enough for a single pass, in which none looks back at another's.
  static KvCache for_one_pass(std::int64_t layers, std::int64_t batch, std::int64_t kv_heads, std::int64_t positions,
                              std::int64_t head_dim, const at::TensorOptions& options) {
    KvCache cache(1, batch, kv_heads, positions, head_dim, options);
    cache.keys_.resize(static_cast<std::size_t>(layers), at::Tensor(cache.keys_.front()));
    cache.values_.resize(static_cast<std::size_t>(layers), at::Tensor(cache.values_.front()));
    return cache;
  }

  /// Positions filled; the next token stands at this position.
  std::int64_t length() const { return length_; }

  /// Puts a layer's k and v, [batch, kv_heads, tokens, head_dim], at the positions from length() on.
  void append(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) {
    const std::int64_t tokens = k.size(2);
    if (length_ + tokens > capacity_) throw std::logic_error("the KV cache is full");
    keys_[static_cast<std::size_t>(layer)].narrow(2, length_, tokens).copy_(k);
    values_[static_cast<std::size_t>(layer)].narrow(2, length_, tokens).copy_(v);
  }

  /// [batch, kv_heads, positions, head_dim] views of a layer's first `positions` positions.
  at::Tensor keys(std::int64_t layer, std::int64_t positions) const {
    return keys_[static_cast<std::size_t>(layer)].narrow(2, 0, positions);
  }
  at::Tensor values(std::int64_t layer, std::int64_t positions) const {
    return values_[static_cast<std::size_t>(layer)].narrow(2, 0, positions);
  }

  std::int64_t capacity() const { return capacity_; }
  /// Forgets all positions.
  void clear() { length_ = 0; }

  /// A layer's buffers as the GPU's kernels address them.
  kernel::CacheView view(std::int64_t layer) const {
    const at::Tensor &k = keys_[static_cast<std::size_t>(layer)], &v = values_[static_cast<std::size_t>(layer)];
    return {k.data_ptr(), v.data_ptr(), k.stride(0), k.stride(1), k.stride(2)};
  }

  /// The same of one sequence: the batch's stride is 0.
  kernel::CacheView view(std::int64_t layer, std::int64_t sequence) const {
    const at::Tensor k = keys_[static_cast<std::size_t>(layer)].select(0, sequence);
    const at::Tensor v = values_[static_cast<std::size_t>(layer)].select(0, sequence);
    return {k.data_ptr(), v.data_ptr(), 0, k.stride(0), k.stride(1)};
  }

  /// What an engine keeps beside the tensors, in a form of its own: made by make() when it is first asked for.
  template <class T, class Make>
  T& beside(Make make) {
    if (beside_ == nullptr) {
      beside_ = std::make_shared<T>(make());
      beside_type_ = &typeid(T);
    }
    if (*beside_type_ != typeid(T)) throw std::logic_error("a KV cache serves one engine");
    return *static_cast<T*>(beside_.get());
  }

  /// Ends a forward pass over so many tokens.
  void advance(std::int64_t tokens) { length_ += tokens; }

 private:
  std::int64_t capacity_ = 0;
  std::int64_t length_ = 0;
  std::vector<at::Tensor> keys_;
  std::vector<at::Tensor> values_;
  std::shared_ptr<void> beside_;
  const std::type_info* beside_type_ = nullptr;
};

}  // namespace fpf::model
