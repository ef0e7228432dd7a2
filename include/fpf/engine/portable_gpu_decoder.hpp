// The decoder of the portable execution on a GPU.
#pragma once

#include <fpf/engine/gpu_weights.hpp>
#include <fpf/engine/portable_cpu.hpp>
#include <fpf/engine/portable_gpu.hpp>

namespace fpf::engine {

/// As PortableCpuDecoder, with its bits.
class PortableGpuDecoder final : public Decoder {
 public:
  static constexpr model::Block carries{.qk_norm = true, .experts = true, .qkv_bias = true};

  /// Throws Error, by name, for tensors that are missing or misshapen, for models of 16 bits and for more than one
  /// rank.
  PortableGpuDecoder(const Numerics& numerics, const model::Checkpoint& checkpoint, parallel::Rank rank,
                     at::ScalarType dtype, at::Device device)
      : Decoder(checkpoint.config(), alone(std::move(rank)), wide(dtype), device),
        scheme_(numerics.quantisation),
        weights_({checkpoint.source(), config().quantization, dtype, device, /*keeps_values=*/true}, scheme_,
                 checkpoint, shard(), with_wide_bias),
        rope_(exact_gpu_rope(config(), device)) {}

  std::size_t weight_bytes() const override { return weights_.bytes(); }

  at::Tensor forward(const at::Tensor& tokens, model::KvCache& cache, std::int64_t logits_for,
                     model::Taps* taps) override {
    const c10::InferenceMode guard;
    at::Tensor logits = portable_prefill(device::kernels(device()), device::current_stream(device()),
                                         step_config(config(), shard(), dtype(), tokens.numel()),
                                         addresses(weights_, rope_, cache), tokens, cache, logits_for, taps);
    cache.advance(tokens.size(1));
    return logits;
  }

  execution::TopK log_probs(const at::Tensor& logits, std::int64_t k) const override {
    return portable::log_probs(logits.cpu(), k);
  }

  OperationTable operations() const override {
    const PassNames names =
        portable_names(scheme_, dtype(), fmt::format("fpf portable {}, kernel/portable/*.cuh", portable::version));
    return NamedPass(weights_, names, config().is_moe()).table();
  }

  std::unique_ptr<Step> make_step(kernel::StepConfig step, const model::KvCache& cache,
                                  const kernel::Allocate& keep) const override {
    return std::make_unique<PortableStep>(device::kernels(device()), step, addresses(weights_, rope_, cache), keep);
  }
  bool captures_steps() const override { return true; }

 private:
  static model::Layer with_wide_bias(model::Layer layer) {
    layer.qkv.widen_bias();
    return layer;
  }
  static at::ScalarType wide(at::ScalarType dtype) {
    if (dtype != at::kFloat)
      fail(
          "--execution portable multiplies integers where activations have 16 bits, which it has no kernels for yet: run it on "
          "the CPU (--device cpu), or with --dtype float32");
    return dtype;
  }
  static parallel::Rank alone(parallel::Rank rank) {
    if (rank.size > 1) fail("--execution portable divides a model over ranks on the CPU (--device cpu) only");
    return rank;
  }

  const quant::Scheme& scheme_;
  model::Weights<> weights_;
  GpuRope rope_;
};

}  // namespace fpf::engine
