// Decoding on a GPU: the step's kernels enqueued one by one, or captured once and replayed.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <fpf/kernel/decode_step.hpp>
#include <fpf/model/config.hpp>
#include <fpf/model/device_attention.hpp>
#include <fpf/model/kv_cache.hpp>
#include <fpf/model/layer.hpp>

#include <cstring>
#include <memory>
#include <vector>

namespace fpf::model {

/// Runs the steps of one batch after its prefill. The signals of row 0 come to the host one step after another, while the
/// next one computes.
class DeviceDecode {
 public:
  template <class Quant>
  DeviceDecode(const ModelConfig& config, const std::vector<Layer<Quant>>& layers, const Linear<Quant>& head,
               const at::Tensor& embedding, const at::Tensor& final_norm, const DeviceRope& rope, const KvCache& cache,
               kernel::StepConfig step)
      : device_(embedding.device()), captured_(step.fused) {
    const auto keep = [&](std::size_t bytes) -> void* {
      memory_.push_back(at::zeros({static_cast<std::int64_t>(std::max<std::size_t>(bytes, 16))},
                                  at::TensorOptions(at::kByte).device(device_)));
      return memory_.back().data_ptr();
    };
    kernel::ModelWeights weights;
    for (std::size_t i = 0; i < layers.size(); ++i)
      weights.layers.push_back(layer_weights(layers[i], cache.view(static_cast<std::int64_t>(i))));
    weights.embedding = embedding.const_data_ptr();
    weights.final_norm = final_norm.const_data_ptr();
    weights.head = head.on_device().matrix();
    weights.cos = rope.cos.const_data_ptr<float>();
    weights.sin = rope.sin.const_data_ptr<float>();
    step_ = std::make_unique<kernel::DecodeStep>(quant::device_kernels(device_), std::move(step), std::move(weights), keep);
    if (!config.is_moe()) upload(step_->expert_weights(), std::vector<float>(static_cast<std::size_t>(rows()), 1.0f));
    api().check(api().ctx_synchronize(), "cuCtxSynchronize");
    api().check(api().stream_create(&stream_, 1 /* does not wait for the default stream */), "cuStreamCreate");
  }
  DeviceDecode(const DeviceDecode&) = delete;
  DeviceDecode& operator=(const DeviceDecode&) = delete;
  ~DeviceDecode() {
    if (graph_ != nullptr) api().graph_exec_destroy(graph_);
    if (stream_ != nullptr) api().stream_destroy(stream_);
  }

  const kernel::DecodeStep& step() const { return *step_; }
  int rows() const { return step_->config().rows; }

  /// Begins at `position` (the prompt's length) with those tokens, one a row.
  void start(const std::vector<int>& tokens, std::int64_t position, std::int64_t steps) {
    upload(step_->tokens(), tokens);
    upload(step_->position(), std::vector<int>(static_cast<std::size_t>(rows()), static_cast<int>(position)));
    ring_ = at::empty({steps, static_cast<std::int64_t>(step_->taps().bytes)}, at::TensorOptions(at::kByte).pinned_memory(true));
    done_ = 0;
    if (captured_ && graph_ == nullptr) capture();
  }

  /// One step for all rows; its signals will stand in row `done` of the ring. With `forced`, row 0 is fed that token.
  void advance(const int* forced = nullptr) {
    if (forced != nullptr) {
      api().check(api().stream_synchronize(stream_), "cuStreamSynchronize");
      upload(step_->tokens(), std::vector<int>{*forced});
    }
    if (captured_)
      api().check(api().graph_launch(graph_, stream_), "cuGraphLaunch");
    else
      step_->enqueue(stream_);
    const auto row = static_cast<std::byte*>(ring_.select(0, done_++).data_ptr());
    api().check(api().memcpy_device_to_host_async(row, address(step_->tap_buffer()), step_->taps().bytes, stream_),
                "cuMemcpyDtoHAsync");
  }

  /// Waits for all steps so far; their tap buffers, [steps, taps().bytes], laid out as TapLayout says.
  const at::Tensor& finish() {
    api().check(api().stream_synchronize(stream_), "cuStreamSynchronize");
    return ring_;
  }

 private:
  static const kernel::cuda::Driver& api() { return kernel::cuda::driver(); }
  template <class T>
  static kernel::cuda::DevicePointer address(T* pointer) {
    return reinterpret_cast<kernel::cuda::DevicePointer>(pointer);
  }
  template <class T>
  static void upload(T* to, const std::vector<T>& values) {
    api().check(api().memcpy_host_to_device(address(to), values.data(), values.size() * sizeof(T)), "cuMemcpyHtoD");
  }

  template <class Quant>
  static kernel::LayerWeights layer_weights(const Layer<Quant>& layer, const kernel::CacheView& cache) {
    const auto pointer = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
    kernel::LayerWeights out;
    out.input_norm = pointer(layer.input_norm);
    out.post_norm = pointer(layer.post_norm);
    out.q_norm = pointer(layer.q_norm);
    out.k_norm = pointer(layer.k_norm);
    out.qkv = layer.qkv.on_device().matrix();
    out.o = layer.o.on_device().matrix();
    const bool sparse = !layer.experts.empty();
    if (sparse) out.router = layer.router.on_device().matrix();
    const Mlp<Quant>& first = sparse ? layer.experts.front() : layer.mlp;
    out.gate_up = first.gate.on_device().format;
    out.down = first.down.on_device().format;
    out.experts = static_cast<const kernel::Expert*>(layer.expert_table.const_data_ptr());
    out.cache = cache;
    return out;
  }

  void capture() {
    kernel::cuda::Graph graph = nullptr;
    api().check(api().stream_begin_capture(stream_, 0), "cuStreamBeginCapture");
    step_->enqueue(stream_);
    api().check(api().stream_end_capture(stream_, &graph), "cuStreamEndCapture");
    api().check(api().graph_instantiate(&graph_, graph, 0), "cuGraphInstantiate");
    api().graph_destroy(graph);
  }

  at::Device device_;
  bool captured_;
  std::vector<at::Tensor> memory_;
  std::unique_ptr<kernel::DecodeStep> step_;
  kernel::cuda::Stream stream_ = nullptr;
  kernel::cuda::GraphExec graph_ = nullptr;
  at::Tensor ring_;  // pinned [steps, tap bytes]
  std::int64_t done_ = 0;
};

}  // namespace fpf::model
