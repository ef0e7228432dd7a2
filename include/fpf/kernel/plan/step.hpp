// What a pass works on and how it is carried out: data that a model shares with the kernels.
#pragma once

#include <algorithm>
#include <fpf/core/by_layer.hpp>
#include <fpf/kernel/host/driver_api.hpp>
#include <fpf/kernel/plan/shapes.hpp>
#include <fpf/kernel/shared/params.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::kernel {

/// One layer as the kernels read it. Norms are in the activations' type.
struct LayerWeights {
  const void *input_norm = nullptr, *post_norm = nullptr;  // [hidden]
  const void *q_norm = nullptr, *k_norm = nullptr;         // [head_dim], or null
  Matrix qkv, o, router;                                   // router: only with experts
  const Expert* experts = nullptr;                         // on the device; a dense MLP is one expert
  WeightFormat gate_up{}, down{};
  CacheView cache{};
};

struct ModelWeights {
  std::vector<LayerWeights> layers;
  const void* embedding = nullptr;   // [vocabulary, hidden] T
  const void* final_norm = nullptr;  // [hidden] T
  Matrix head;
  const float *cos = nullptr, *sin = nullptr;  // [positions, head_dim / 2]
};

/// What a step that is one rank's part asks of the others, enqueued on the step's stream; what is empty is whole
/// already.
struct Exchange {
  using Sum = std::function<void(cuda::Stream, void* partial, std::size_t elements)>;  // in place
  using Gather = std::function<void(cuda::Stream, const void* own, void* whole)>;      // [rows, own n] -> [rows, n]
  Sum attention{}, mlp{};
  Gather logits{};
};

/// Gives device memory that lives as long as what asks for it, zeroed.
using Allocate = std::function<void*(std::size_t bytes)>;

/// How a step is carried out. Everything here shows in the results' last bits and belongs into the manifest.
struct StepConfig {
  DType dtype = DType::bfloat16;
  int hidden = 0, vocabulary = 0, top_k = 10;
  float eps = 0;
  AttentionShape attention{};
  MoeShape mlp{};                        // a dense MLP: experts 1, top_k 1
  int rows = 1;                          // sequences in the batch, 1..8
  bool fused = false;                    // chains with float32 intermediates; else every operation rounds its result
  bool batch_invariant = false;          // a row's bits do not depend on how many there are
  std::optional<Arithmetic> products{};  // of the linear layers; empty: product_arithmetic() chooses
  std::vector<int> tapped{};             // layers whose signals are kept, ascending
  int capacity = 0;                      // positions that the caches hold; needed by written-out attention
  Exchange exchange{};                   // with other ranks; attention, mlp and the head are this rank's part then

  bool has_experts() const { return mlp.experts > 1; }
};

/// Which kernels a pass launches under which names: layers need not be of one format.
class OperationNames {
 public:
  /// `layer`: -1 outside the layers.
  void add(std::string_view name, int layer, const std::string& kernel) {
    auto found = std::ranges::find(operations_, name, &Entry::first);
    if (found == operations_.end()) found = operations_.insert(found, {std::string(name), ByLayer()});
    found->second.add(layer, kernel);
  }
  /// Operation -> kernel, in the order of the pass, each once; where layers differ, which kernel in which layers.
  std::vector<std::pair<std::string, std::string>> table() const {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, kernels] : operations_) out.emplace_back(name, kernels.text());
    return out;
  }

 private:
  using Entry = std::pair<std::string, ByLayer>;
  std::vector<Entry> operations_;
};

}  // namespace fpf::kernel
