// Which engine computes, of policies as values or as types.
#pragma once

#include <fpf/engine/library.hpp>
#include <fpf/engine/portable_cpu.hpp>
#include <fpf/engine/portable_gpu_decoder.hpp>
#include <memory>
#include <string_view>
#include <utility>

namespace fpf::engine {

/// Throws Error, naming what the model's layers have and an engine does not carry out: weights that were loaded and not
/// used would be results of another model.
inline void require_carried_out(const model::ModelConfig& config, const model::Block& carries,
                                std::string_view engine) {
  for (const auto& [words, flag] : model::block_flags)
    if (config.block.*flag && !(carries.*flag))
      fail("{} has {}, which {} does not carry out", config.architecture, words, engine);
}

/// Makes a rank's decoder. All of the engines' code hangs on this one function, which is not inline: `extern template
/// struct DecoderFactory<>` leaves it to another object file.
template <class = void>
struct DecoderFactory {
  static std::unique_ptr<Decoder> make(const Numerics& numerics, const model::Checkpoint& checkpoint,
                                       parallel::Rank rank, at::ScalarType dtype, at::Device device);
};

template <class T>
std::unique_ptr<Decoder> DecoderFactory<T>::make(const Numerics& numerics, const model::Checkpoint& checkpoint,
                                                 parallel::Rank rank, at::ScalarType dtype, at::Device device) {
  const c10::InferenceMode guard;
  require_carried_out(numerics, device.type());
  const bool portable = numerics.execution.portable, gpu = device.is_cuda();
  require_carried_out(checkpoint.config(),
                      !portable ? LibraryDecoder::carries
                      : gpu     ? PortableGpuDecoder::carries
                                : PortableCpuDecoder::carries,
                      portable ? "--execution portable" : "a forward pass");
  if (gpu && !portable) require_carried_out(checkpoint.config(), DecodeStep::carries, "a decode step on a GPU");
  if (!portable) return std::make_unique<LibraryDecoder>(numerics, checkpoint, std::move(rank), dtype, device);
  if (gpu) return std::make_unique<PortableGpuDecoder>(numerics, checkpoint, std::move(rank), dtype, device);
  return std::make_unique<PortableCpuDecoder>(numerics, checkpoint, std::move(rank), dtype);
}

/// The same for policies as types.
template <quant::QuantScheme Quant, attention::AttentionKernel Attention, execution::Execution Execution>
std::unique_ptr<Decoder> make_decoder(const model::Checkpoint& checkpoint, parallel::Rank rank, at::ScalarType dtype,
                                      at::Device device) {
  const Numerics numerics{quant::scheme<Quant>(), attention::kernel<Attention>(), execution::policy<Execution>()};
  return DecoderFactory<>::make(numerics, checkpoint, std::move(rank), dtype, device);
}

}  // namespace fpf::engine
