// Decoding on a GPU: the step's kernels enqueued one by one, or captured once and replayed.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <chrono>
#include <cstring>
#include <fpf/engine/decoder.hpp>
#include <fpf/quant/packed_matrix.hpp>
#include <memory>
#include <thread>
#include <vector>

namespace fpf::engine {

/// Runs the steps of one batch after its prefill. The signals of row 0 come to the host one step after
/// another, while the next one computes.
class GpuDecode {
 public:
  /// Against a cache that was prefilled: signals of the layers in `tapped`, `top_k` log-probabilities.
  GpuDecode(const Decoder& decoder, const model::KvCache& cache, std::int64_t batch,
            const std::vector<std::int64_t>& tapped, std::int64_t top_k)
      : device_(decoder.device()),
        collectives_(decoder.collectives()),
        shares_device_(collectives_.communicator() != nullptr && collectives_.communicator()->size() > 1 &&
                       !collectives_.communicator()->can_capture()),
        captured_(decoder.captures_steps() && !shares_device_) {
    const auto keep = [&](std::size_t bytes) -> void* {
      memory_.push_back(at::zeros({static_cast<std::int64_t>(std::max<std::size_t>(bytes, 16))},
                                  at::TensorOptions(at::kByte).device(device_)));
      return memory_.back().data_ptr();
    };
    kernel::StepConfig step = step_config(decoder.config(), decoder.shard(), decoder.dtype(), batch);
    step.top_k = static_cast<int>(top_k);
    step.tapped.assign(tapped.begin(), tapped.end());
    step.capacity = static_cast<int>(cache.capacity());
    step.exchange = exchange(decoder.shard().vocabulary.size(), decoder.config().vocab_size, batch, decoder.dtype());
    step_ = decoder.make_step(std::move(step), cache, keep);
    if (!decoder.config().is_moe() && step_->expert_weights() != nullptr)
      upload(step_->expert_weights(), std::vector<float>(static_cast<std::size_t>(rows()), 1.0f));
    if (shares_device_) {
      stream_ = device::current_stream(device_);
      return;
    }
    api().check(api().ctx_synchronize(), "cuCtxSynchronize");
    api().check(api().stream_create(&stream_, 1 /* does not wait for the default stream */), "cuStreamCreate");
    if (captured_) capture();
  }
  GpuDecode(const GpuDecode&) = delete;
  GpuDecode& operator=(const GpuDecode&) = delete;
  ~GpuDecode() {
    if (graph_ != nullptr) api().graph_exec_destroy(graph_);
    if (stream_ != nullptr && !shares_device_) api().stream_destroy(stream_);
  }

  const Step& step() const { return *step_; }
  int rows() const { return step_->config().rows; }

  /// Begins at `position` (the prompt's length) with those tokens, one a row.
  void start(const std::vector<int>& tokens, std::int64_t position, std::int64_t steps) {
    upload(step_->tokens(), tokens);
    upload(step_->position(), std::vector<int>(static_cast<std::size_t>(rows()), static_cast<int>(position)));
    ring_ = at::empty({steps, static_cast<std::int64_t>(step_->taps().bytes())},
                      at::TensorOptions(at::kByte).pinned_memory(true));
    done_ = 0;
  }

  /// One step for all rows; its signals will stand in row `done` of the ring. With `forced`, row 0 is fed
  /// that token.
  void advance(const int* forced = nullptr) {
    if (forced != nullptr) {
      wait();
      upload(step_->tokens(), std::vector<int>{*forced});
    }
    if (captured_)
      api().check(api().graph_launch(graph_, stream_), "cuGraphLaunch");
    else
      step_->enqueue(stream_);
    const auto row = static_cast<std::byte*>(ring_.select(0, done_++).data_ptr());
    api().check(api().memcpy_device_to_host_async(row, address(step_->tap_buffer()), step_->taps().bytes(), stream_),
                "cuMemcpyDtoHAsync");
  }

  /// Waits for all steps so far; their tap buffers, [steps, taps().bytes()], laid out as TapLayout says.
  const at::Tensor& finish() {
    wait();
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

  /// For all that is enqueued. With other ranks it looks whether they still live.
  void wait() {
    if (const auto* communicator = collectives_.communicator())
      for (communicator->check(); api().stream_query(stream_) == kernel::cuda::not_ready; communicator->check())
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    api().check(api().stream_synchronize(stream_), "cuStreamSynchronize");
  }

  /// The step's exchange with other ranks: the policy's words on its buffers.
  kernel::Exchange exchange(std::int64_t own_vocabulary, std::int64_t vocabulary, std::int64_t batch,
                            at::ScalarType dtype) {
    const at::TensorOptions options = at::TensorOptions(dtype).device(device_);
    const auto sum = [this, options](auto word) {
      return [this, options, word](kernel::cuda::Stream stream, void* partial, std::size_t elements) {
        const device::StreamScope scope(stream, device_);
        (collectives_.*word)(at::from_blob(partial, {static_cast<std::int64_t>(elements)}, options));
      };
    };
    kernel::Exchange out;
    if (collectives_.partial().attention) out.attention = sum(&parallel::Collectives::sum_attention);
    if (collectives_.partial().mlp) out.mlp = sum(&parallel::Collectives::sum_mlp);
    if (!collectives_.partial().vocabulary) return out;
    const std::int64_t ranks = collectives_.communicator()->size();
    memory_.push_back(at::empty({ranks, batch, own_vocabulary}, options));
    const at::Tensor by_rank = memory_.back();
    out.logits = [this, options, by_rank, batch, own_vocabulary, vocabulary, ranks](kernel::cuda::Stream stream,
                                                                                    const void* own, void* whole) {
      const device::StreamScope scope(stream, device_);
      collectives_.communicator()->all_gather(at::from_blob(const_cast<void*>(own), {batch, own_vocabulary}, options),
                                              by_rank);
      at::from_blob(whole, {batch, vocabulary}, options)
          .view({batch, ranks, own_vocabulary})
          .copy_(by_rank.transpose(0, 1));
    };
    return out;
  }

  void capture() {
    if (auto* communicator = collectives_.communicator()) communicator->barrier();  // it connects at its first call
    kernel::cuda::Graph graph = nullptr;
    // Of other threads, ranks on other GPUs, nothing is forbidden meanwhile.
    api().check(api().stream_begin_capture(stream_, kernel::cuda::capture_thread_local), "cuStreamBeginCapture");
    try {
      step_->enqueue(stream_);
    } catch (...) {  // the device takes nothing else while a capture is open
      api().stream_end_capture(stream_, &graph);
      if (graph != nullptr) api().graph_destroy(graph);
      throw;
    }
    api().check(api().stream_end_capture(stream_, &graph), "cuStreamEndCapture");
    api().check(api().graph_instantiate(&graph_, graph, 0), "cuGraphInstantiate");
    api().graph_destroy(graph);
  }

  at::Device device_;
  const parallel::Collectives& collectives_;  // the decoder's
  bool shares_device_;  // with other ranks, whose steps meet this one's on one stream: nothing can be captured
  bool captured_;
  std::vector<at::Tensor> memory_;
  std::unique_ptr<Step> step_;
  kernel::cuda::Stream stream_ = nullptr;
  kernel::cuda::GraphExec graph_ = nullptr;
  at::Tensor ring_;  // pinned [steps, tap bytes]
  std::int64_t done_ = 0;
};

}  // namespace fpf::engine
